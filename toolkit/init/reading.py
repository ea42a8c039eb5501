"""The logical schema of a source, and the files that it is written to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import MetaData

from toolkit import extras
from toolkit.extras import Extra
from toolkit.init.seen import Note
from toolkit.postgres import extras as postgres_extras
from toolkit.postgres import model, reflect
from toolkit.postgres.session import Connection

_MARK = re.compile(r"^(?:#|--) Written by 'regionkit init'; (?P<digest>[0-9a-f]{16})\b.*\n", re.M)


def read_schema(
    connection: Connection, schemas: Sequence[str], default_schema: str
) -> tuple[MetaData, list[Note]]:
    """Read tables, columns, keys and indexes, and what there is to say about them."""
    found = reflect.read(connection, schemas, default_schema)
    return found.metadata, [
        Note(", ".join(part for part in (note.table, note.subject) if part), note.text)
        for note in found.notes
    ]


def read_extras(connection: Connection, schemas: Sequence[str]) -> list[Extra]:
    """Read what the logical schema cannot hold; the first schema is the default one."""
    return postgres_extras.read(connection, schemas)


def schema_text(metadata: MetaData) -> str:
    """Return the contents of ``schema.py``."""
    return marked(model.render(metadata), "#")


def extras_text(found: Sequence[Extra]) -> str:
    """Return the contents of ``extras.sql``."""
    return marked(extras.render(found), "--")


def marked(text: str, comment: str) -> str:
    """Put a line in front that tells later whether somebody has edited what follows."""
    return (
        f"{comment} Written by 'regionkit init'; {_digest(text)} is the digest of what follows. "
        "Edit it, and it is yours.\n" + text
    )


def is_as_written(path: Path) -> bool:
    """Return whether a file is as init wrote it, or is not there."""
    if not path.is_file():
        return True
    text = path.read_text(encoding="utf-8")
    found = _MARK.match(text)
    return found is not None and _digest(text[found.end() :]) == found["digest"]


def was_written_as(path: Path, text: str) -> bool:
    """Return whether an edited file was once written as ``text``: nothing new has come since."""
    found = _MARK.match(path.read_text(encoding="utf-8"))
    now = _MARK.match(text)
    return found is not None and now is not None and found["digest"] == now["digest"]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
