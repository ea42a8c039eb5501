"""The project's folder: what is written there, and what the operator has made of it before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit import extras
from toolkit.config import DEFAULT_NAME, Configuration
from toolkit.errors import RegionkitError, UsageError
from toolkit.init import changes, projectfile, reading, report
from toolkit.init.rule import Listed
from toolkit.init.seen import Request, Seen

SCHEMA = "schema.py"
EXTRAS = "extras.sql"
REPORT = "init-report.md"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        files: names in the folder.
        changes: what has changed since the last time, in the source and in the files.
    """

    files: tuple[str, ...]
    changes: tuple[str, ...]


def require_writable(folder: Path, *, yes: bool) -> None:
    """Refuse a folder that holds something, unless the operator says yes.

    Raises:
        UsageError: it is not empty, or no folder.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="name another with --out")
    if not yes and any(folder.iterdir()):
        again = (folder / DEFAULT_NAME).is_file()
        raise UsageError(
            f"the folder {folder} is not empty; nothing was written",
            hint="--yes brings the project there up to date, and keeps what you wrote"
            if again
            else "name an empty one with --out, or pass --yes to write into this one",
        )


def write(seen: Seen, request: Request, existing: Configuration | None) -> Written:
    """Write the project; keep what the operator has edited.

    Raises:
        UsageError: the folder cannot be written to.
    """
    folder = request.folder
    files: dict[str, str] = {}
    said: list[str] = []
    path = folder / DEFAULT_NAME
    if existing is None:
        files[DEFAULT_NAME] = projectfile.written(seen, request.alone)
    else:
        said += _since(seen, existing)
        files[DEFAULT_NAME], new = projectfile.merged(path.read_text(encoding="utf-8"), seen)
        said += new
    if existing is None or existing.file.source.metadata == f"{SCHEMA}:metadata":
        _generated(folder, SCHEMA, reading.schema_text(seen.metadata), files, said)
    if existing is None or existing.file.source.extras == EXTRAS:
        _generated(folder, EXTRAS, reading.extras_text(seen.extras), files, said)
    for listed in (seen.rule.map_file, seen.rule.clients):
        if listed is not None:
            _copied(folder, listed, files, said)
    files[REPORT] = report.markdown(seen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("migrations_sql", "migrations_nosql") if existing is None else ():
            (folder / name).mkdir(exist_ok=True)
        written = []
        for name, text in files.items():
            target = folder / name
            if target.is_file() and target.read_text(encoding="utf-8") == text:
                continue
            if seen.rule.clients is not None and name == seen.rule.clients.path.name:
                # It holds keys of clients: personal data.
                target.touch(mode=0o600)
                target.chmod(0o600)
            target.write_text(text, encoding="utf-8")
            written.append(name)
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}", hint="name another folder with --out"
        ) from None
    return Written(tuple(written), tuple(said))


def _generated(folder: Path, name: str, text: str, files: dict[str, str], said: list[str]) -> None:
    """Write a file that follows from the source; one that was edited is left as it is."""
    path = folder / name
    if reading.is_as_written(path):
        files[name] = text
    elif not reading.was_written_as(path, text):
        stem, _, ending = name.rpartition(".")
        beside = f"{stem}.new.{ending}"
        files[beside] = text
        said.append(
            f"{name} was edited, and the source has changed since: it was left as it is; what it "
            f"would be now is in {beside}"
        )


def _copied(folder: Path, listed: Listed, files: dict[str, str], said: list[str]) -> None:
    """Copy a file of the operator's into the project, unless it lies there."""
    target = folder / listed.path.name
    if target.exists() and target.resolve() == listed.path.resolve():
        return
    if target.is_file():
        mine = {line for line in target.read_text(encoding="utf-8-sig").splitlines() if line}
        theirs = [line for line in listed.text().splitlines() if line]
        if mine.issuperset(theirs):
            return
        gone = len(mine - set(theirs))
        if gone:
            said.append(
                f"{target.name} was replaced; {gone} line(s) of it are not in {listed.path}"
            )
    files[target.name] = listed.text()


def _since(seen: Seen, existing: Configuration) -> list[str]:
    """Return what has changed in the source since the files were written."""
    said = []
    if existing.imports_metadata:
        try:
            old = existing.import_metadata()
        except UsageError as error:
            said.append(f"the schema as it was cannot be read: {error.message}")
        else:
            said += [
                f"source: {line}"
                for line in changes.of_schema(old, seen.metadata, seen.default_schema)
            ]
    if existing.file.source.extras is not None:
        try:
            before = extras.parse(existing.extras_text())
        except RegionkitError as error:
            said.append(f"the extras as they were cannot be read: {error.message}")
        else:
            said += [f"source: {line}" for line in changes.of_extras(before, seen.extras)]
    return said
