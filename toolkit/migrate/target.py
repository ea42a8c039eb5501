"""What the engine asks of a backend.

To add a backend, write a class with these methods and give it to :func:`toolkit.migrate.engine`.
The engine holds the lock, plans the chunks, hands them to workers and counts; the backend copies a
chunk and notes its checkpoint so that a crash leaves both or neither (or, where that is not
possible, so that copying the chunk again changes nothing). The engine knows neither SQL nor BSON:
it hands the source to the backend, and the backend's canonical expressions to the source.

The methods are called in this order: ``lock``; ``run``; ``require_applied``, ``require_known``,
``values_refused``; then ``begin``, or ``resume`` and ``stale``; ``leave``; ``prepare``;
``take_out``; ``workers``; ``finish``. Verification asks the methods below the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from typing import Protocol

from toolkit.config import Configuration
from toolkit.digest import Digest, DigestForm, RowDigest
from toolkit.findings import Finding
from toolkit.journal import Chunk, Decisions, Holder, Outcome, Pace, Run, RunRecord, Stale
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Source
from toolkit.refusal import Left, Refusal


class Worker(Protocol):
    """Copies chunks over connections of its own."""

    def copy(self, chunk: Chunk) -> int:
        """Copy one chunk and note its checkpoint; return how many rows.

        Raises:
            Interrupted: a server failed; the chunk is either copied and noted, or neither.
            LockNotObtained: a newer run has taken over.
        """
        ...


class Target(Protocol):
    """A layout on one server, as the target of a migration."""

    backend: str

    @property
    def server(self) -> str:
        """The name of the server that the rows go to."""
        ...

    @property
    def place(self) -> str:
        """Where the rows go, for messages."""
        ...

    def lock(self) -> AbstractContextManager[object]:
        """Hold the lock that keeps a second migration out.

        Raises:
            LockNotObtained: somebody else holds it.
        """
        ...

    def require_applied(self) -> None:
        """Refuse a target in which the layout is not applied; write nothing."""
        ...

    def require_known(self) -> None:
        """Refuse a target that holds rows which no journal knows; write nothing."""
        ...

    @property
    def chunk_rows(self) -> int:
        """How many rows are copied in one transaction, unless the operator says it."""
        ...

    @property
    def effort(self) -> float:
        """How many times as long as reading the source once the whole job takes.

        Measured (``docs/benchmarks.md``), for the estimate of a dry run.
        """
        ...

    @property
    def growth(self) -> float:
        """How many times as much disk as the source's rows, with indexes, without the log."""
        ...

    def values_refused(self, source: Source, connection: Connection) -> list[Refusal]:
        """Return the rows of the source that the target cannot hold exactly; write nothing."""
        ...

    def run(self) -> Run | None:
        """Return how far the migration has come; ``None`` if it never started."""
        ...

    def chunks(self) -> list[tuple[Chunk, int | None]]:
        """Return the journaled chunks with their rows, ``None`` for those still to be copied."""
        ...

    def begin(self, decisions: Decisions, chunks: Sequence[Chunk]) -> Run:
        """Note the start of a migration."""
        ...

    def resume(self) -> Run:
        """Note another start; whoever ran before may not write any more."""
        ...

    def quarantine(self) -> list[Left]:
        """Return the clients that were left out."""
        ...

    def leave(self, left: Sequence[Left], run: Run) -> None:
        """Note the clients that are left out, instead of those that were before."""
        ...

    def stale(
        self,
        source: Source,
        connection: Connection,
        progress: Callable[[str], None],
        *,
        repair: bool = False,
    ) -> Stale:
        """Compare what is copied with the source's snapshot; write nothing.

        Args:
            source: under an open snapshot.
            connection: a reader of it.
            progress: called with each table.
            repair: name rows that no chunk brought, too, instead of refusing them.

        Raises:
            Refused: the target holds rows that no chunk brought.
        """
        ...

    def take_out(self, stale: Stale, run: Run) -> None:
        """Take out what :meth:`stale` found, and note that its chunks are not copied.

        Afterwards the target holds exactly the rows of the chunks that are noted as copied.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        ...

    def prepare(self, run: Run) -> None:
        """Take out of the way what slows a load down."""
        ...

    def workers(
        self, source: Source, run: Run
    ) -> AbstractContextManager[Callable[[], AbstractContextManager[Worker]]]:
        """Return what opens a worker."""
        ...

    def finish(self, run: Run, progress: Callable[[str], None]) -> None:
        """Put back what ``prepare`` took away, and note that the migration is finished."""
        ...

    # History: who ran what, and how far it is; see toolkit.migrate.history ---------------------

    def begin_run(self, record: RunRecord) -> None:
        """Note one start of a migration; a second call adds the epoch and what is expected."""
        ...

    def note_run(self, record: RunRecord, throttled_by: str) -> None:
        """Note what holds a start back now; empty: nothing."""
        ...

    def end_run(self, record: RunRecord, outcome: Outcome, code: int, rows: int) -> None:
        """Note how a start of a migration ended."""
        ...

    def runs(self) -> list[RunRecord]:
        """Return every start that is kept, the newest first."""
        ...

    def pace(self, window: float) -> Pace:
        """Return what the newest start has copied within the last ``window`` seconds."""
        ...

    def holder(self) -> Holder | None:
        """Return who holds the lock now; ``None`` if nobody is at work."""
        ...

    # Verification ----------------------------------------------------------------------------

    def reading(self, workers: int) -> AbstractContextManager[None]:
        """Hold what is needed by several threads that ask for digests at once.

        Args:
            workers: how many processes may read beside this one.
        """
        ...

    def digest_form(self, connection: Connection) -> DigestForm:
        """Return how rows become digests, given a reader of the source."""
        ...

    def canonical(self, name: str, form: DigestForm) -> list[str]:
        """Return SQL for the canonical cells of a source table's columns, over alias ``t``."""
        ...

    def key_cells(self, name: str) -> list[int]:
        """Return which of the canonical cells are the key; none where there is no key."""
        ...

    def digests(self, name: str, form: DigestForm) -> dict[str | None, Digest]:
        """Return the digest of what is in the target, per region."""
        ...

    def row_digests(self, name: str, form: DigestForm) -> Iterator[RowDigest]:
        """Yield the digest of every row that is in the target."""
        ...

    def newer_from(self) -> int | None:
        """Return from where on what is written now is newer; ``None`` where rows do not tell."""
        ...

    def is_untouched(self, name: str, rows: int, newer_from: int) -> bool:
        """Return whether a table still has so many rows, and none that is newer."""
        ...

    def columns(self, name: str) -> list[str]:
        """Return the columns of a table that the canonical cells are of."""
        ...

    def cells(
        self, name: str, keys: Sequence[tuple[str | None, ...]]
    ) -> Iterator[tuple[tuple[str | None, ...], str | None, tuple[str | None, ...]]]:
        """Yield key, region and canonical texts of the columns of the rows with these keys."""
        ...

    def counts(self) -> dict[str, dict[str, int]]:
        """Return rows per table and region; the empty string stands for global tables."""
        ...

    def unasked(self) -> list[str]:
        """Return, in words, what cannot be asked with the privileges that there are."""
        ...

    def audits(self, equal: AbstractSet[str]) -> list[Callable[[], list[Finding]]]:
        """Return what compares the layout's additions with the data, each to be run by itself.

        Args:
            equal: keys of the tables of which every row was compared and found equal.
        """
        ...

    def invariants(self, project: Configuration) -> list[tuple[str, Callable[[], Finding | None]]]:
        """Return the declared invariants by name, each to be run by itself.

        One that is not declared for this backend is left out: the report says so.
        """
        ...

    def forget(self) -> None:
        """Drop the target's entries from the journal, after its tables are gone."""
        ...

    # Cutover ---------------------------------------------------------------------------------

    def lies_in(self, source: Source) -> bool:
        """Return whether the rows go to the source's own database: a rename can switch then."""
        ...

    def follow_sequences(self, source: Connection, schema: str) -> None:
        """Let no sequence hand out what a sequence of the source's schema handed out before."""
        ...

    def moment(self) -> str:
        """Return a mark of now, by which later writes are told."""
        ...

    def still(
        self, moment: str, rows: Mapping[str, Mapping[str, int]], wait: float
    ) -> AbstractContextManager[list[str] | None]:
        """Hold writers off; yield the tables that were written to since a moment.

        ``None`` says that the backend cannot tell: the caller has to compare every row.

        Args:
            moment: what :meth:`moment` returned then.
            rows: per table and region at that moment.
            wait: seconds to wait for writers.

        Raises:
            LockNotObtained: writers are at work.
        """
        ...
