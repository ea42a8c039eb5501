"""What the MongoDB side needs of a source. It knows no other backend's modules."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from toolkit.digest import Digest, DigestForm
from toolkit.journal import Chunk
from toolkit.refusal import Offender


class SourceReader(Protocol):
    """A source under one snapshot: SQL over alias ``t``, one table at a time.

    ``connection`` is whatever :meth:`reader` opens.

    Attributes:
        encoding: of the source's database.
    """

    encoding: str

    def reader(self) -> AbstractContextManager[Any]:
        """Open a connection that reads the snapshot."""
        ...

    def stream(
        self,
        connection: Any,
        name: str,
        expressions: Sequence[str],
        chunk: Chunk | None = None,
        *,
        at_once: int = 1,
        first: int | None = None,
    ) -> Generator[tuple[Any, ...]]:
        """Yield rows: the expressions, then the regions.

        With ``first``, so many in the order of the key, and the key's columns as text in front.
        """
        ...

    def digests(
        self,
        connection: Any,
        name: str,
        canonical: Sequence[str],
        form: DigestForm,
        chunks: Sequence[Chunk] | None = None,
    ) -> dict[str | None, Digest]:
        """Return the digest of the rows of chunks per region."""
        ...

    def has_long_values(self, connection: Any, name: str) -> bool:
        """Return whether values of a table are so long that they are stored outside its rows."""
        ...

    def count_matching(self, connection: Any, name: str, predicates: Sequence[str]) -> list[int]:
        """Return how many rows match each predicate."""
        ...

    def matching(self, connection: Any, name: str, predicate: str) -> list[Offender]:
        """Return every row that matches."""
        ...

    def rows_matching(
        self, connection: Any, name: str, expressions: Sequence[str], predicate: str
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that match: the expressions, then the regions.

        In front of each stand its key as text, and the key of its client as an array or NULL.
        """
        ...


def quoted(column: str) -> str:
    """Return a column of alias ``t``."""
    return 't."' + column.replace('"', '""') + '"'
