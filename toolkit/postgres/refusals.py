"""Texts of the source that a target database of another encoding does not have."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.encoding import is_ascii, unheld
from toolkit.layout import Layout
from toolkit.postgres import ddl
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Source
from toolkit.refusal import Refusal
from toolkit.types import postgres_type


def unheld_texts(
    source: Source, connection: Connection, layout: Layout, encoding: str
) -> Iterator[Refusal]:
    """Yield one refusal for each column with texts that the target cannot take, with every row.

    Args:
        source: under an open snapshot.
        connection: a reader of it.
        layout: the decisions.
        encoding: of the target's database.
    """
    for key in (*layout.shared, *layout.regional):
        asked = [
            (column.name, *found)
            for column in layout.table(key).columns
            if not is_ascii(postgres_type(column.type).name)
            and (found := unheld(f"t.{ddl.quote(column.name)}", source.encoding, encoding))
        ]
        if not asked:
            continue
        counts = source.count_matching(connection, key, [condition for _, condition, _ in asked])
        for (column, condition, reason), count in zip(asked, counts, strict=True):
            if count:
                offenders = tuple(source.matching(connection, key, condition))
                yield Refusal(key, f"{column}: {reason}", offenders, key in layout.shared)
