"""What the MongoDB side needs of a source. It knows no other backend's modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from toolkit.journal import Chunk
from toolkit.refusal import Offender


class SourceReader(Protocol):
    """A source under one snapshot: SQL over alias ``t``, one table at a time.

    ``connection`` is whatever :meth:`reader` opens.
    """

    def reader(self) -> AbstractContextManager[Any]:
        """Open a connection that reads the snapshot."""
        ...

    def rows(
        self, connection: Any, name: str, expressions: Sequence[str], chunk: Chunk | None = None
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield batches of rows: the expressions, then the regions."""
        ...

    def count_matching(self, connection: Any, name: str, predicates: Sequence[str]) -> list[int]:
        """Return how many rows match each predicate."""
        ...

    def matching(self, connection: Any, name: str, predicate: str) -> list[Offender]:
        """Return every row that matches."""
        ...

    def rows_matching(
        self, connection: Any, name: str, expressions: Sequence[str], predicate: str
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows that match, as :meth:`rows` does.

        In front of each stand its key as text, and the key of its client as an array or NULL.
        """
        ...


def quoted(column: str) -> str:
    """Return a column of alias ``t``."""
    return 't."' + column.replace('"', '""') + '"'
