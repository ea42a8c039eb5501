"""What a check saw: a code, where, how often, and bounded samples of the keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from toolkit.errors import SAMPLES


class Code(StrEnum):
    """Every kind of finding. The value is stable: scripts match on it."""

    row_missing = "row-missing"
    row_unexpected = "row-unexpected"
    row_differs = "row-differs"
    row_misplaced = "row-misplaced"
    row_duplicated = "row-duplicated"
    count_differs = "count-differs"
    link_without_client = "link-without-client"
    client_without_link = "client-without-link"
    link_differs = "link-differs"
    orphan = "orphan"
    sequence_behind = "sequence-behind"
    key_table_differs = "key-table-differs"
    invariant_violated = "invariant-violated"
    constraint_missing = "constraint-missing"
    index_missing = "index-missing"
    trigger_missing = "trigger-missing"
    catalogue_differs = "catalogue-differs"
    value_refused = "value-refused"
    document_invalid = "document-invalid"
    validator_differs = "validator-differs"
    query_fails = "query-fails"
    rows_differ = "rows-differ"
    touches_regions = "touches-regions"
    scan_without_index = "scan-without-index"


@dataclass(frozen=True)
class Finding:
    """One thing that a check saw.

    Attributes:
        code: what kind of thing.
        server: the server it was seen on.
        table: the table's key, or the name of what was checked.
        region: the region, ``None`` where it is not about one.
        count: how many, exactly.
        keys: samples of the keys, at most ``SAMPLES``, as text; of ``value_refused`` every key.
        detail: what an operator needs in order to understand it.
        rule: the id of the rule that it breaks (:mod:`toolkit.rules`); empty where there is none.
    """

    code: Code
    server: str
    table: str
    region: str | None = None
    count: int = 1
    keys: tuple[str, ...] = ()
    detail: str = ""
    rule: str = ""

    def __str__(self) -> str:
        where = f"{self.table} in {self.region}" if self.region else self.table
        text = f"{self.server}: {where}: {self.count} {self.code}"
        if shown := self.keys[:SAMPLES]:
            more = ", ..." if self.count > len(shown) else ""
            text += f" ({', '.join(shown)}{more})"
        return f"{text}: {self.detail}" if self.detail else text

    def document(self) -> dict[str, Any]:
        """Return the finding for ``--output json``; without a rule where there is none."""
        document = asdict(self)
        return document if self.rule else {key: document[key] for key in document if key != "rule"}


def sampled_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the first few of ``keys`` in a stable order."""
    return tuple(sorted(keys)[:SAMPLES])
