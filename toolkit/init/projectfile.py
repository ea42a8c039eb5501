"""``regionkit.toml`` as a person would write it, and how a later look is brought into it. Pure.

What the operator wrote is never changed: new statements go behind it, and a section of a table that
is gone is turned into a comment. The result is read again before it is written.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Iterable

from pydantic import ValidationError

from toolkit.config import File
from toolkit.errors import RegionkitError
from toolkit.init.seen import Decision, Seen, Stated
from toolkit.init.statements import answer, lines, section, toml_string
from toolkit.names import NamePool
from toolkit.placement import Statement, Through, table_key

_WIDTH = 100
#: What MongoDB does not allow in the name of a database, on any system.
_NOT_IN_DATABASE = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_DATABASE = 63


def written(seen: Seen, alone: bool | None) -> str:
    """Return the file for a source that was looked at for the first time.

    Args:
        seen: what was seen.
        alone: whether the MongoDB server that will be used is alone in its replica set.
    """
    parts = [
        _comment(
            f"The clients of {seen.database} are the rows of {seen.root}. Each row that belongs to "
            "a client lives in that client's region; the rest is there once, for all."
        ),
        _comment(
            "Written by 'regionkit init', and yours from now on: running init again adds what is "
            "new and keeps what you wrote. docs/configuration.md explains every key."
        ),
        "",
        "[source]",
        "# What 'regionkit init' read: tables, columns, keys and indexes; then everything else.",
        'metadata = "schema.py:metadata"',
        'extras = "extras.sql"',
        f"schema = {toml_string(seen.default_schema)}",
    ]
    if len(seen.schemas) > 1:
        parts += [
            "# Their tables are called schema.table here, and schema_table in the layouts.",
            f"schemas = [{', '.join(map(toml_string, seen.schemas[1:]))}]",
        ]
    parts += ["# Where it is stands in the environment: REGIONKIT_SOURCE_URL.", ""]
    parts += [*_targets(seen, alone), "", "[root]", f"table = {toml_string(seen.root)}", ""]
    parts += _rule(seen)
    parts += ["", "[regions]", *(f"{code} = {{}}" for code in seen.topology.codes)]
    for one in seen.stated:
        parts += ["", *block(one)]
    for text in _offers(seen):
        parts += ["", text]
    return "\n".join(parts) + "\n"


def _targets(seen: Seen, alone: bool | None) -> list[str]:
    parts = []
    schema = f"{seen.default_schema}_regional"
    if schema in seen.taken_schemas:
        name = NamePool(seen.taken_schemas).claim(f"{schema}_layout")
        parts += [
            "[target.postgres]",
            f"# The source has a schema {schema} already.",
            f"schema = {toml_string(name)}",
            "",
        ]
    parts += ["[target.mongo]", f"database = {toml_string(_database(seen.database))}"]
    if alone:
        parts += [
            "# The server is alone in its replica set: what it confirms can be lost with it, and "
            "figures",
            '# measured on it are marked "not durable".',
            "allow_single_member = true",
        ]
    elif alone is None:
        parts += [
            "# Where it is stands in the environment: REGIONKIT_MONGO_URL. A server that is alone "
            "in its",
            "# replica set is refused unless you say:",
            "# allow_single_member = true",
        ]
    return parts


def _database(name: str) -> str:
    plain = _NOT_IN_DATABASE.sub("_", name).strip("_") or "source"
    return f"{plain[: _MAX_DATABASE - len('_regional')]}_regional"


def _rule(seen: Seen) -> list[str]:
    how = seen.rule
    parts = ["[root.region]"]
    if how.column is not None:
        parts.append(f"column = {toml_string(how.column)}")
        if how.map_file is not None:
            parts.append(f"map_file = {toml_string(how.map_file.path.name)}")
    if how.sql is not None:
        parts.append(f"sql = {toml_string(how.sql)}")
    if how.clients is not None:
        parts.append(f"clients = {toml_string(how.clients.path.name)}")
    return parts


def block(one: Stated) -> list[str]:
    """Return a statement with its reason above it."""
    return [_comment(one.why), *answer(one.table, one.statement)]


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2))


def _offers(seen: Seen) -> Iterable[str]:
    """Yield what the operator could add, as comments: open questions, then what was left global."""
    for question in seen.open:
        if question.choices:
            yield _asked(question)
    for key, privacy in seen.decisions.privacy.items():
        if privacy.through is not None or privacy.proposed is None:
            continue
        through = Through(privacy.proposed.table, privacy.proposed.columns)
        unused = privacy.sharing.rows - privacy.sharing.by_key[privacy.proposed].rows
        orphans = seen.topology.codes[0] if unused else None
        offer = Statement(owned_through=through, orphans=orphans)
        text = f"{key} is global: {privacy.why}. To keep its rows with their clients:"
        yield "\n".join([_comment(text), *(f"# {line}" for line in answer(key, offer))])


def _asked(question: Decision) -> str:
    parts = [_comment(f"{question.subject}: {question.question}. Decide:")]
    for number, choice in enumerate(question.choices):
        if number:
            parts.append("# or")
        parts += [f"# {line}" for line in choice]
    return "\n".join(parts)


# A later look --------------------------------------------------------------------------------


def merged(text: str, seen: Seen) -> tuple[str, list[str]]:
    """Bring a later look into a file that the operator may have edited.

    Args:
        text: the file as it is.
        seen: what was seen now.

    Returns:
        The file as it should be, and what was changed, in words.

    Raises:
        RegionkitError: the result cannot be read again; this is not to be expected.
    """
    raw = tomllib.loads(text)
    known = set(raw.get("placement", {}))
    tables = {table_key(table, seen.default_schema) for table in seen.metadata.tables.values()}
    said: list[str] = []
    result = text
    for key in sorted(known - tables):
        result = _commented_out(result, key)
        said.append(f"{section(key)} became a comment: the table is gone")
    more: list[str] = []
    for code in seen.topology.codes:
        if code not in raw.get("regions", {}):
            more += ["", f"[regions.{code}]"]
            said.append(f"[regions.{code}] is new")
    for one in seen.stated:
        if one.table not in known:
            more += ["", *block(one)]
            said.append(f"{section(one.table)} is new: {' '.join(lines(one.statement))}")
    for offer in _offers(seen):
        if not _is_there(result, offer):
            more += ["", offer]
    if more:
        result = result.rstrip("\n") + "\n" + "\n".join(more) + "\n"
    try:
        File.model_validate(tomllib.loads(result))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise RegionkitError(
            f"regionkit.toml could not be brought up to date: {error}",
            hint="nothing was written; please report this with the file",
        ) from None
    return result, said


def _is_there(text: str, offer: str) -> bool:
    """Return whether the first lines of an offer that are no prose are in a file already."""
    plain = [line for line in offer.splitlines() if line.startswith(("# [", "# in ["))]
    return bool(plain) and all(line in text.splitlines() for line in plain)


def _commented_out(text: str, key: str) -> str:
    """Turn the section of a table into a comment."""
    found, inside, quotes = [], False, ""
    for line in text.splitlines():
        if not quotes and line.lstrip().startswith("["):
            inside = _header_of(line) == ["placement", key]
        found.append(f"# (gone) {line}" if inside and line.strip() else line)
        quotes = _open_quotes(line, quotes)
    return "\n".join(found) + "\n"


def _header_of(line: str) -> list[str]:
    """Return the keys of a section's header."""
    try:
        at = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return []
    keys: list[str] = []
    while isinstance(at, dict) and len(at) == 1:
        (name,) = at
        keys.append(name)
        at = at[name]
    return keys


def _open_quotes(line: str, quotes: str) -> str:
    """Return the mark that ends the string of several lines in which a line ends, if it does."""
    at = 0
    while at < len(line):
        if quotes:
            end = line.find(quotes, at)
            if end < 0:
                return quotes
            at, quotes = end + 3, ""
            continue
        match = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#').search(line, at)
        if match is None or match.group() == "#":
            return ""
        if match.group() in ('"""', "'''"):
            quotes = match.group()
        at = match.end()
    return quotes
