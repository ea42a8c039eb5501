"""What has changed in a source since it was looked at before. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Column, Index, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from toolkit.extras import Extra
from toolkit.placement import table_key

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def of_schema(old: MetaData, new: MetaData, default_schema: str) -> list[str]:
    """Return what differs between two logical schemas, one line for each object."""
    before = {table_key(table, default_schema): table for table in old.tables.values()}
    after = {table_key(table, default_schema): table for table in new.tables.values()}
    lines = [f"table {key} is gone" for key in sorted(before.keys() - after.keys())]
    lines += [
        f"table {key} is new ({len(after[key].columns)} columns)"
        for key in sorted(after.keys() - before.keys())
    ]
    for key in sorted(before.keys() & after.keys()):
        lines += [f"table {key}: {line}" for line in _of_table(before[key], after[key])]
    return lines


def of_extras(old: Iterable[Extra], new: Iterable[Extra]) -> list[str]:
    """Return what differs between two inventories of everything else."""
    before = {_identity(extra): extra for extra in old}
    after = {_identity(extra): extra for extra in new}
    lines = [f"{_called(before[key])} is gone" for key in before if key not in after]
    lines += [f"{_called(after[key])} is new" for key in after if key not in before]
    lines += [
        f"{_called(after[key])} has changed"
        for key in after
        if key in before and before[key] != after[key]
    ]
    return lines


def _identity(extra: Extra) -> tuple[object, ...]:
    return extra.kind, extra.name, extra.table


def _called(extra: Extra) -> str:
    on = f" on {extra.table}" if extra.table else ""
    return f"{extra.kind.value} {extra.name}{on}"


def _of_table(old: Table, new: Table) -> Iterable[str]:
    before, after = _columns(old), _columns(new)
    yield from (f"column {name} is gone" for name in before if name not in after)
    yield from (
        f"column {name} is new: {text}" for name, text in after.items() if name not in before
    )
    yield from (
        f"column {name} is {after[name]!r} instead of {before[name]!r}"
        for name in before
        if name in after and before[name] != after[name]
    )
    one, other = _rest(old), _rest(new)
    yield from (f"is without {text}" for text in one if text not in other)
    yield from (f"has {text}" for text in other if text not in one)


def _columns(table: Table) -> Mapping[str, str]:
    return {column.name: _column(column) for column in table.columns}


def _column(column: Column[object]) -> str:
    text = str(CreateColumn(column).compile(dialect=_DIALECT))
    return " ".join(text.split())


def _rest(table: Table) -> list[str]:
    """Return everything of a table but its columns, as SQL."""
    create = str(CreateTable(table).compile(dialect=_DIALECT))
    columns = {
        " ".join(str(CreateColumn(column).compile(dialect=_DIALECT)).split())
        for column in table.columns
    }
    lines = [" ".join(line.split()).removesuffix(",") for line in create.strip().splitlines()]
    found = [line for line in lines[1:] if line and line != ")" and line not in columns]
    found += [_index(index) for index in sorted(table.indexes, key=lambda one: str(one.name))]
    if table.comment:
        found.append(f"comment {table.comment!r}")
    return found


def _index(index: Index) -> str:
    return " ".join(str(CreateIndex(index).compile(dialect=_DIALECT)).split())
