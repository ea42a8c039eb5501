"""The documentation names what there is, all of it, and nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from tests.live.support import ROOT
from toolkit.cli.main import app
from toolkit.config import File
from toolkit.postgres import capabilities, versions
from toolkit.postgres.capabilities import Capability

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def _commands(
    command: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Yield the path of every command and its options."""
    options = {name for parameter in command.params for name in parameter.opts}  # type: ignore[attr-defined]
    options |= {name for parameter in command.params for name in parameter.secondary_opts}  # type: ignore[attr-defined]
    yield path, options | {"--help"}
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, (*path, name))


COMMANDS = dict(_commands(get_command(app)))
LEAVES = [path for path in COMMANDS if path and not any(p[:-1] == path for p in COMMANDS)]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_is_documented(path: tuple[str, ...]) -> None:
    assert f"regionkit {' '.join(path)}" in TEXT or f"lab {path[-1]}" in TEXT


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    command = get_command(app)
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert command.help and len(command.help) > 40
    assert all(
        getattr(parameter, "help", None)
        for parameter in command.params
        if getattr(parameter, "param_type_name", "") == "option"
    )


def _mentions() -> Iterator[tuple[str, str]]:
    """Yield each line of a shell block, and each piece of code in the text, that runs regionkit."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```(?:sh)?\n(.*?)```", text, re.S):
            for line in block.splitlines():
                if line.strip().startswith("regionkit "):
                    yield page.name, line.partition("#")[0].strip()
        for code in re.findall(r"`(regionkit [^`\n]+)`", text):
            yield page.name, code


@pytest.mark.parametrize(("page", "line"), sorted(set(_mentions())))
def test_every_command_that_is_mentioned_exists(page: str, line: str) -> None:
    words = line.removeprefix("regionkit ").split()
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in COMMANDS:
        path = (*path, words.pop(0))
    assert path or words[0].startswith("-"), line
    wrong = [
        word
        for word in words
        if word.startswith("-") and word.partition("=")[0] not in COMMANDS[path]
    ]
    assert wrong == [], line


def test_the_first_configuration_of_the_readme_is_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        lines = [line.removeprefix("   ") for line in block.splitlines()]
        File.model_validate(tomllib.loads("\n".join(lines)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_errors_hints_name_commands_that_exist() -> None:
    for source in sorted((ROOT / "toolkit").rglob("*.py")):
        for command in re.findall(r"'regionkit ([a-z]+)", source.read_text(encoding="utf-8")):
            assert (command,) in COMMANDS, f"{source.name}: regionkit {command}"


def test_what_a_version_cannot_do_is_on_the_page() -> None:
    text = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| 1\d \|", line)]
    found = [f"| {one.since} | {one.title} | {one.otherwise} |" for one in versions.ALL]
    found += [
        f"| {one.since // 10000} | {one.name} | refused by `apply`: {one.instead} |"
        for one in vars(capabilities).values()
        if isinstance(one, Capability) and one.since
    ]
    assert rows == sorted(found, key=lambda line: line[:4])
