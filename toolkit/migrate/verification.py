"""Compares every row of the target with the source, by another path than the one that wrote it.

Per table and region the digests of both ends are compared; where they differ, the digests of the
rows are, until every key that is missing, unexpected, different or misplaced is named; then the
cells of those that differ, until every column is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from toolkit.config import Configuration
from toolkit.digest import Digest, DigestForm
from toolkit.errors import StoppedByUser
from toolkit.findings import Code, Finding
from toolkit.journal import Decisions, Mark
from toolkit.layout import Layout
from toolkit.migrate.comparison import Key, Mismatch, RowComparison
from toolkit.migrate.forecast import names
from toolkit.migrate.target import Target
from toolkit.migrate.throttle import Throttle
from toolkit.migrate.verified import Verified, still_holds
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Moment, Source
from toolkit.refusal import Left

#: Rows of a table of which the columns that differ are named.
_EXPLAINED = 1_000


_Result = TypeVar("_Result")


@dataclass
class Verdict:
    """What verification saw. Close it when the keys were read.

    Attributes:
        server: the target.
        rows: rows that were compared, per table and region (``""`` for global tables).
        left: the clients that were left in the source.
        left_rows: rows that stayed with them, per table.
        findings: what differs; empty means equal.
        invariants: the declared invariants that held.
        skipped: the declared invariants that are not declared for this backend.
        unasked: what could not be asked with the privileges that there are.
        moment: the state of the source that was compared.
        comparisons: of the tables that differ.
    """

    server: str
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    left_rows: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    invariants: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    moment: Moment | None = None
    comparisons: list[RowComparison] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.findings

    def mismatches(self) -> Iterator[Mismatch]:
        """Yield every row that differs."""
        for comparison in self.comparisons:
            yield from comparison.mismatches()

    def close(self) -> None:
        """Remove what the comparison of rows left on disk."""
        for comparison in self.comparisons:
            comparison.close()


def verify(
    source: Source,
    target: Target,
    layout: Layout,
    project: Configuration,
    *,
    progress: Callable[[str], None] = lambda _: None,
    throttle: Throttle | None = None,
    kept: dict[str, Any] | None = None,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Verdict:
    """Compare source and target, then what the layout adds, then the declared invariants.

    Args:
        source: the source.
        target: the target.
        layout: the decisions.
        project: the operator's configuration.
        progress: called with what is compared.
        throttle: lets it wait, to spare a live source.
        kept: what an earlier verification gave to ``keep`` before it was stopped.
        keep: is given what was found equal so far, whenever there is more of it.

    Returns:
        The verdict. It says "equal to the source" of the moment at which it began to read; without
        a freeze of the source nothing is said of what was written later.

    Raises:
        Refused: the layout is not applied.
    """
    target.require_applied()
    verdict = Verdict(target.server, left=target.quarantine(), unasked=target.unasked())
    brake = throttle or Throttle()
    if verdict.left:
        source.leave([one.client for one in verdict.left])
    workers = project.file.migrate.workers
    with (
        source.open(),
        target.reading(workers),
        ThreadPoolExecutor(workers, "regionkit-verify") as pool,
        brake.shared(),
    ):
        verdict.moment = source.moment
        with source.reader() as connection:
            form = target.digest_form(connection)
            verified = _verified(source, target, project, connection, verdict.left, kept, keep)

        def held(work: Callable[..., _Result], *arguments: str) -> _Result:
            """Work when it is not held back; not at all when the verification has ended."""
            if not brake.wait(0):
                raise StoppedByUser("stopped", hint="run 'regionkit verify' again")
            return work(*arguments)

        def compare(name: str) -> _Compared:
            known = verified.tables.get(name)
            if known is not None and verified.target is not None:
                rows = sum(known["rows"].values())
                if target.is_untouched(name, rows, verified.target):
                    return _Compared(known["rows"], known["source"], known["left"])
            progress(name)
            # How many rows it was is known afterwards: the next table waits for them.
            compared = _compare(source, target, name, form)
            brake.settle(0, sum(compared.rows.values()))
            return compared

        invariants = [(name, pool.submit(held, ask)) for name, ask in target.invariants(project)]
        equal: set[str] = set()
        for name, compared in zip(
            names(layout), pool.map(partial(held, compare), names(layout)), strict=True
        ):
            verdict.rows[name] = compared.rows
            if compared.left:
                verdict.left_rows[name] = compared.left
            if not compared.adds_up:
                verdict.findings.append(_uneven(target.server, name, compared))
            if compared.comparison is None:
                equal.add(name)
                verified.note(name, compared.rows, compared.source, compared.left)
            else:
                verdict.findings.extend(compared.comparison.findings())
                verdict.comparisons.append(compared.comparison)
        progress("link, key tables, references, sequences and constraints")
        for found in pool.map(held, target.audits(equal)):
            verdict.findings.extend(found)
        progress("invariants")
        for name, asked in invariants:
            finding = asked.result()
            if finding is None:
                verdict.invariants.append(name)
            else:
                verdict.findings.append(finding)
    ran = {name for name, _ in invariants}
    verdict.skipped = [one.name for one in project.file.invariant if one.name not in ran]
    return verdict


def _verified(
    source: Source,
    target: Target,
    project: Configuration,
    connection: Connection,
    left: Sequence[Left],
    kept: dict[str, Any] | None,
    keep: Callable[[dict[str, Any]], None],
) -> Verified:
    """Return what an earlier verification found equal and what has not changed since, if any."""
    basis: Decisions = {
        "decisions": project.decisions(),
        "quarantine": [list(one.client) for one in left],
    }
    if kept and still_holds(kept, basis):
        marks = {key: Mark(**mark) for key, mark in kept["source"].items()}
        # The region of a row depends on other tables: all of them, or nothing.
        if source.is_as_it_was(connection, marks):
            return Verified(keep, basis, marks, kept["target"], dict(kept["tables"]))
    return Verified(keep, basis, source.marks(connection), target.newer_from())


@dataclass(frozen=True)
class _Compared:
    """What the comparison of one table saw.

    Attributes:
        rows: in the target, per region.
        source: rows in the source.
        left: rows of them that stay in quarantine.
        comparison: of its rows, where the digests differ.
    """

    rows: dict[str, int]
    source: int
    left: int
    comparison: RowComparison | None = None

    @property
    def adds_up(self) -> bool:
        """Whether the rows of the source are those in all regions and those in quarantine."""
        # Where rows differ they are named one by one.
        return self.comparison is not None or self.source == self.left + sum(self.rows.values())


def _uneven(server: str, name: str, compared: _Compared) -> Finding:
    moved = sum(compared.rows.values())
    return Finding(
        Code.count_differs,
        server,
        name,
        count=abs(compared.source - moved - compared.left),
        detail=f"{compared.source} rows in the source, {moved} in the target, "
        f"{compared.left} in quarantine",
    )


def _compare(source: Source, target: Target, name: str, form: DigestForm) -> _Compared:
    canonical = target.canonical(name, form)
    with source.reader() as connection:
        with ThreadPoolExecutor(1, "regionkit-digest") as pool:
            reading = pool.submit(source.digests, connection, name, canonical, form)
            actual = target.digests(name, form)
            expected = reading.result()
        rows = {region or "": digest.rows for region, digest in actual.items()}
        total, left = source.count(connection, name), source.count_left(connection, name)
        if expected == actual:
            return _Compared(rows, total, left)
        differing = {
            region
            for region in expected.keys() | actual.keys()
            if expected.get(region, Digest()) != actual.get(region, Digest())
        }
        key_cells = target.key_cells(name)
        comparison = RowComparison(target.server, name)
        comparison.compare(
            (
                row
                for row in source.row_digests(connection, name, canonical, key_cells, form)
                if row.region in differing
            ),
            (row for row in target.row_digests(name, form) if row.region in differing),
        )
        if key_cells:
            keys = [one.key for one in islice(comparison.mismatches(Code.row_differs), _EXPLAINED)]
            wanted = {
                tuple(cells[number] for number in key_cells): cells
                for cells in source.cells(connection, name, canonical, key_cells, keys)
            }
            columns = target.columns(name)
            comparison.explain(
                (key, _columns_that_differ(columns, wanted[key], cells))
                for key, _, cells in target.cells(name, keys)
                if key in wanted
            )
        return _Compared(rows, total, left, comparison)


def _columns_that_differ(columns: list[str], one: Key, other: Key) -> str:
    """Return the columns in which two rows differ, in words; not what stands in them. Pure."""
    names = [
        column for column, mine, theirs in zip(columns, one, other, strict=False) if mine != theirs
    ]
    return f"in {', '.join(names)}" if names else ""
