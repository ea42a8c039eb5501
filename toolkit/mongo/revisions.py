"""Migration files for MongoDB: written by ``generate``, read back as a linear chain.

A file is Python: ``revision``, ``down_revision``, ``model_digest``, ``upgrade(op)``,
``downgrade(op)``. Its checksum is that of its text without trailing blanks and with ``\\n`` at the
ends of lines, so that a checkout on another system is no edit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from toolkit.errors import Refused
from toolkit.layout import Layout
from toolkit.mongo.ddl import Operation
from toolkit.mongo.layout import collections
from toolkit.mongo.operations import Operations
from toolkit.mongo.render import migration

#: The subfolder of the migrations' folder that holds the files.
VERSIONS = "versions"

_SLUG_LENGTH = 40

#: What a file that somebody wrote or edited can raise.
_BROKEN = (
    OSError,
    SyntaxError,
    ImportError,
    AttributeError,
    NameError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
)


@dataclass(frozen=True)
class Revision:
    """A migration file.

    Attributes:
        revision: its id.
        down_revision: the id of the one before it, ``None`` for the first.
        model_digest: of the layout that it leads to.
        path: the file.
        checksum: of its normalised text.
        upgrade: what it does.
        downgrade: what undoes it.
    """

    revision: str
    down_revision: str | None
    model_digest: str
    path: Path
    checksum: str
    upgrade: Callable[[Operations], None]
    downgrade: Callable[[Operations], None]

    def upgrades(self) -> tuple[Operation, ...]:
        """Return the operations of ``upgrade`` without doing any.

        Raises:
            Refused: the function fails.
        """
        return self._recorded(self.upgrade)

    def downgrades(self) -> tuple[Operation, ...]:
        """Return the operations of ``downgrade`` without doing any.

        Raises:
            Refused: the function fails.
        """
        return self._recorded(self.downgrade)

    def _recorded(self, function: Callable[[Operations], None]) -> tuple[Operation, ...]:
        operations: list[Operation] = []
        try:
            function(Operations(operations.append))
        except _BROKEN as error:
            raise _broken(self.path, error) from None
        return tuple(operations)


def _broken(path: Path, error: Exception) -> Refused:
    return Refused(
        f"{path.name} is not a migration: {type(error).__name__}: {error}",
        hint="correct the file, or take it out of the folder",
    )


def generate(
    layout: Layout, folder: Path, message: str = "collections", *, write: bool = True
) -> tuple[Path, bool]:
    """Write the migration that creates a layout.

    Args:
        layout: the layout.
        folder: the migrations' folder; the file goes to ``versions`` in it.
        message: what it is, in a few words.
        write: false only says whether a file would be written.

    Returns:
        The migration's file, and whether it is (or would be) new.

    Raises:
        Refused: the layout cannot be kept in MongoDB, or the migrations lead to another one.
    """
    wanted = collections(layout)
    history = load_history(folder)
    if history:
        newest = history[-1]
        if newest.model_digest == wanted.digest():
            return newest.path, False
        raise Refused(
            f"{newest.path.name} leads to another model",
            hint="changing a generated model by a further migration is not supported yet: if it "
            "was applied nowhere, delete the file and generate again",
        )
    revision = f"{len(history) + 1:04d}"
    text = migration(wanted, revision=revision, down_revision=None, message=message)
    path = folder / VERSIONS / f"{revision}_{slug(message)}.py"
    if not write:
        return path, True
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8", newline="\n")
    draft.replace(path)
    return path, True


def slug(message: str) -> str:
    """Return a message as a part of a file's name."""
    words = re.findall(r"[a-z0-9]+", message.lower())
    return "_".join(words)[:_SLUG_LENGTH].rstrip("_") or "collections"


def load_history(folder: Path) -> tuple[Revision, ...]:
    """Read the migrations, the first one first; empty if there is none.

    Args:
        folder: the migrations' folder.

    Raises:
        Refused: a file is not a migration, or they do not form one chain.
    """
    paths = sorted((folder / VERSIONS).glob("[!_]*.py"))
    return _chain([load_revision(path) for path in paths])


class _Loader(SourceFileLoader):
    """Loads from a text that was read before, and leaves no ``__pycache__`` behind."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        super().__init__(name, str(path))
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self._text.encode(), self.path)
        return code


def load_revision(path: Path) -> Revision:
    """Read one migration file.

    Raises:
        Refused: it cannot be read, fails, or lacks one of its parts.
    """
    try:
        text = path.read_text(encoding="utf-8")
        name = f"regionkit_migration_{path.stem}"
        module = ModuleType(name)
        module.__file__ = str(path)
        _Loader(name, path, text).exec_module(module)
        revision, down = module.revision, module.down_revision
        found = Revision(
            revision=revision,
            down_revision=down,
            model_digest=module.model_digest,
            path=path,
            checksum=checksum(text),
            upgrade=module.upgrade,
            downgrade=module.downgrade,
        )
    except _BROKEN as error:
        raise _broken(path, error) from None
    return found


def checksum(text: str) -> str:
    """Return the checksum of a migration's text, blanks at the ends of lines left out."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return hashlib.sha256("\n".join(lines).strip().encode()).hexdigest()


def _chain(found: Iterable[Revision]) -> tuple[Revision, ...]:
    following: dict[str | None, list[Revision]] = {}
    revisions = list(found)
    for one in revisions:
        following.setdefault(one.down_revision, []).append(one)
    problems = [
        f"{len(ones)} follow {before or 'the start'}: {', '.join(one.path.name for one in ones)}"
        for before, ones in following.items()
        if len(ones) > 1
    ]
    chain: list[Revision] = []
    if not problems:
        current: str | None = None
        while (ones := following.get(current)) and len(chain) < len(revisions):
            chain.append(ones[0])
            current = ones[0].revision
        problems = [
            f"{one.path.name} follows {one.down_revision!r}, which the chain does not reach"
            for one in revisions
            if one not in chain
        ]
        ids = [one.revision for one in revisions]
        problems += [
            f"{id_!r} is used twice" for id_ in sorted({i for i in ids if ids.count(i) > 1})
        ]
    if problems:
        raise Refused(
            "the MongoDB migrations do not form one chain",
            details=problems,
            hint="correct down_revision, or take out the files that do not belong",
        )
    return tuple(chain)
