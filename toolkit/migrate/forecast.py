"""What a migration would do, asked of source and target before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from toolkit.config import Configuration
from toolkit.errors import Refused, sampled
from toolkit.journal import Chunk, Decisions, chunks
from toolkit.layout import Layout
from toolkit.migrate.target import Target
from toolkit.migrate.throttle import UNLIMITED, Limits
from toolkit.postgres.preflight import Census, Preflight
from toolkit.postgres.source import Source
from toolkit.refusal import Left, Refusal, clients


@dataclass(frozen=True)
class Forecast:
    """What a migration would do. Nothing has been written.

    Attributes:
        tables: what each table of the source holds.
        chunks: that would be copied.
        refusals: rows that cannot be placed, and cells that the target cannot hold.
        left: the clients that stay in the source, where a quarantine was asked for.
        left_rows: rows that stay with them, per table, and of the link.
        decisions: everything that decides where a row goes.
        link: name of the link.
        root: key of the root.
        quarantine: whether clients are left out that cannot be moved.
        seconds: about how long the whole job takes: the time that reading every row took just now,
            times what the benchmark found (``Target.effort``).
        disk: about how many bytes it takes on the target's disk, from the rows that were measured.
    """

    tables: dict[str, Census]
    chunks: list[Chunk]
    refusals: list[Refusal]
    left: tuple[Left, ...]
    left_rows: dict[str, int]
    decisions: Decisions
    link: str
    root: str
    quarantine: bool = False
    seconds: float = 0.0
    disk: int = 0

    @property
    def rows(self) -> dict[str, int]:
        """Rows that would be copied, of each table and of the link."""
        found = {name: sum(census.rows.values()) for name, census in self.tables.items()}
        found = {self.link: found[self.root], **found}
        return {name: rows - self.left_rows.get(name, 0) for name, rows in found.items()}

    @property
    def blocking(self) -> list[Refusal]:
        """What keeps the migration from starting: with a quarantine, what no client owns."""
        if not self.quarantine:
            return self.refusals
        return [refusal for refusal in self.refusals if refusal.global_table]

    def require_acceptable(self, place: str) -> None:
        """Raise unless the migration can start.

        Raises:
            Refused: rows cannot be moved; each reason is named with its keys.
        """
        if not self.blocking:
            return
        rows = sum(len(refusal.offenders) for refusal in self.blocking)
        ways = ["mend the source"]
        if any(refusal.section is None for refusal in self.blocking):
            ways.append(
                "extend the rule ([root.region] map or default, orphans in [placement.<table>])"
            )
        sections = [refusal.section for refusal in self.blocking if refusal.section is not None]
        if sections:
            named = ", ".join(sampled(list(dict.fromkeys(sections))))
            ways.append(
                f'carry these columns as text: as = "string" under {named}, then \'regionkit apply '
                "--revert', delete the generated migration, and 'regionkit generate' again"
            )
        if not self.quarantine and any(not refusal.global_table for refusal in self.blocking):
            ways.append("leave these clients in the source with --quarantine")
        raise Refused(
            f"{rows} row(s) of the source cannot be moved into {place}; nothing was written",
            details=sampled([str(refusal) for refusal in self.blocking]),
            hint=", or ".join(ways),
        )


def names(layout: Layout) -> list[str]:
    """Return everything that is copied: global tables, the link, regional tables."""
    return [*sorted(layout.shared), layout.link, *layout.regional]


def forecast(
    source: Source,
    target: Target,
    layout: Layout,
    project: Configuration,
    *,
    quarantine: bool = False,
    limits: Limits = UNLIMITED,
    progress: Callable[[str], None] = lambda _: None,
) -> Forecast:
    """Return what a migration would do. The real run begins with the same function.

    Args:
        source: under an open snapshot.
        target: with the layout applied.
        layout: the decisions.
        project: the operator's configuration.
        quarantine: leave out the clients that cannot be moved.
        limits: what the run will keep to; chunks are small enough for them.
        progress: called with each table.
    """
    chunk_rows = limits.chunk_rows(project.file.migrate.chunk_rows or target.chunk_rows)
    ask = Preflight(source, layout.topology.codes)

    def look(key: str) -> tuple[Census, list[Chunk]]:
        progress(key)
        with source.reader() as connection:
            census = ask.census(connection, key)
            rows = sum(census.rows.values())
            cut = []
            for name in (key, layout.link) if key == layout.placement.root else (key,):
                bounds = source.bounds(connection, name, rows, chunk_rows)
                cut += chunks(target.server, name, bounds)
            return census, cut

    def values() -> list[Refusal]:
        with source.reader() as connection:
            return target.values_refused(source, connection)

    keys = [*sorted(layout.shared), *layout.regional]
    begun = time.monotonic()
    with ThreadPoolExecutor(project.file.migrate.workers, "regionkit-forecast") as pool:
        refused = pool.submit(values)
        looked = dict(zip(keys, pool.map(look, keys), strict=True))
        refusals = [one for census, _ in looked.values() for one in census.refusals]
        took = time.monotonic() - begun
        refusals += refused.result()
    size = sum(sum(census.bytes.values()) for census, _ in looked.values())
    left, left_rows = _quarantined(source, ask, refusals, layout) if quarantine else ((), {})
    return Forecast(
        tables={key: census for key, (census, _) in looked.items()},
        chunks=[chunk for _, cut in looked.values() for chunk in cut],
        refusals=refusals,
        left=left,
        left_rows=left_rows,
        decisions=project.decisions() | {"tables": source.shape()},
        link=layout.link,
        root=layout.placement.root,
        quarantine=quarantine,
        seconds=took * target.effort,
        disk=round(size * target.growth),
    )


def _quarantined(
    source: Source, ask: Preflight, refusals: Iterable[Refusal], layout: Layout
) -> tuple[tuple[Left, ...], dict[str, int]]:
    """Return the clients that stay, and how many rows stay with them.

    Whoever refers to a row that stays, stays too: until nobody is added.
    """
    reasons = clients(refusals)
    with source.reader() as connection:
        while more := ask.followers(connection, set(reasons)):
            reasons.update(more)
        source.leave(reasons)
        rows = {name: source.count_left(connection, name) for name in names(layout)}
    left = tuple(Left(client, reason) for client, reason in sorted(reasons.items()))
    return left, {name: count for name, count in rows.items() if count}
