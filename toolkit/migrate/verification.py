"""Compares every row of the target with the source, by another path than the one that wrote it.

Per table and region the digests of both ends are compared; where they differ, the digests of the
rows are, until every key that is missing, unexpected, different or misplaced is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from toolkit.config import Configuration
from toolkit.digest import Digest, RowDigest
from toolkit.errors import SAMPLES
from toolkit.findings import Code, Finding, sampled_keys
from toolkit.layout import Layout
from toolkit.migrate.engine import names
from toolkit.migrate.target import Target
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Source

_Key = tuple[str | None, ...]


@dataclass
class Verdict:
    """What verification saw.

    Attributes:
        server: the target.
        rows: rows that were compared, per table and region (``""`` for global tables).
        findings: what differs; empty means equal.
        invariants: the declared invariants that held.
        skipped: the declared invariants that are not declared for this backend.
        keys: every key of a difference, per kind and table, for the file.
    """

    server: str
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    invariants: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    keys: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.findings


def verify(
    source: Source,
    target: Target,
    layout: Layout,
    project: Configuration,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Compare source and target, then what the layout adds, then the declared invariants.

    Returns:
        The verdict. It says "equal to the source" of the moment at which it began to read; without
        a freeze of the source nothing is said of what was written later.

    Raises:
        Refused: the layout is not applied.
    """
    target.require_applied()
    verdict = Verdict(target.server)
    with source.open(), source.reader() as connection:
        for name in names(layout):
            progress(name)
            _table(source, connection, target, name, verdict)
    progress("link, key tables, references and sequences")
    verdict.findings.extend(target.audit())
    progress("invariants")
    declared = [invariant.name for invariant in project.file.invariant]
    ran = []
    for name, finding in target.invariants(project):
        ran.append(name)
        if finding is None:
            verdict.invariants.append(name)
        else:
            verdict.findings.append(finding)
    verdict.skipped = [name for name in declared if name not in ran]
    return verdict


def _table(
    source: Source, connection: Connection, target: Target, name: str, verdict: Verdict
) -> None:
    canonical = target.canonical(name)
    with ThreadPoolExecutor(1, thread_name_prefix="regionkit-digest") as pool:
        reading = pool.submit(source.digests, connection, name, canonical)
        actual = target.digests(name)
        expected = reading.result()
    verdict.rows[name] = {region or "": digest.rows for region, digest in actual.items()}
    if expected == actual:
        return
    differing = {
        region
        for region in expected.keys() | actual.keys()
        if expected.get(region, Digest()) != actual.get(region, Digest())
    }
    key_cells = target.key_cells(name)
    findings, keys = differences(
        target.server,
        name,
        (
            row
            for row in source.row_digests(connection, name, canonical, key_cells)
            if row.region in differing
        ),
        (row for row in target.row_digests(name) if row.region in differing),
    )
    verdict.findings.extend(findings)
    verdict.keys.extend(keys)


def differences(
    server: str, table: str, expected: Iterable[RowDigest], actual: Iterable[RowDigest]
) -> tuple[list[Finding], list[tuple[str, str, str, str]]]:
    """Compare rows by key and region. Pure.

    Returns:
        One finding per kind and region, and every key as (kind, table, region, key).
    """
    wanted, seen = _collect(expected), _collect(actual)
    found: dict[tuple[Code, str | None], list[_Key]] = {}
    details: dict[tuple[Code, str | None], set[str]] = {}

    def note(code: Code, region: str | None, key: _Key, detail: str = "") -> None:
        found.setdefault((code, region), []).append(key)
        if detail:
            details.setdefault((code, region), set()).add(detail)

    for key, (places, digests) in seen.items():
        if key not in wanted:
            for region in places:
                note(Code.row_unexpected, region, key)
            continue
        right, right_digests = wanted[key]
        more, fewer = Counter(places) - Counter(right), Counter(right) - Counter(places)
        times = f"{len(places)} times, not {len(right)}"
        if more and fewer:
            home = ", ".join(sorted(map(str, fewer)))
            for region in more:
                note(Code.row_misplaced, region, key, f"belongs to {home}")
        for region in () if fewer else more:
            note(Code.row_duplicated, region, key, times)
        for region in () if more else fewer:
            note(Code.row_missing, region, key, times)
        if not more and not fewer and sorted(digests) != sorted(right_digests):
            note(Code.row_differs, places[0], key)
    for key, (places, _) in wanted.items():
        if key not in seen:
            for region in places:
                note(Code.row_missing, region, key)

    findings: list[Finding] = []
    keys: list[tuple[str, str, str, str]] = []
    for (code, region), list_of_keys in sorted(
        found.items(), key=lambda item: (item[0][0], item[0][1] or "")
    ):
        texts = sorted(_text(key) for key in list_of_keys)
        detail = ", ".join(sorted(details.get((code, region), ()))[:SAMPLES])
        findings.append(
            Finding(code, server, table, region, len(texts), sampled_keys(texts), detail)
        )
        keys.extend((code.value, table, region or "", text) for text in texts)
    return findings, keys


def _collect(rows: Iterable[RowDigest]) -> dict[_Key, tuple[list[str | None], list[str]]]:
    found: dict[_Key, tuple[list[str | None], list[str]]] = {}
    for row in rows:
        places, digests = found.setdefault(row.key, ([], []))
        places.append(row.region)
        digests.append(row.digest)
    return found


def _text(key: _Key) -> str:
    return ", ".join("NULL" if cell is None else cell for cell in key)
