"""What the layouts make of what was seen: asked of the layouts themselves, as ``generate`` will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from sqlalchemy import ForeignKeyConstraint, MetaData, PrimaryKeyConstraint

from toolkit import extras
from toolkit.config import Configuration
from toolkit.errors import RegionkitError
from toolkit.init.rule import Rule
from toolkit.init.seen import Decision, Seen, UniqueLine
from toolkit.layout import Layout, Scope, decide
from toolkit.mongo import inventory as mongo_inventory
from toolkit.mongo import layout as mongo_layout
from toolkit.placement import (
    Kind,
    Placement,
    Statement,
    infer,
    table_key,
    with_owner_columns,
)
from toolkit.postgres import generate as postgres_generate
from toolkit.postgres import inventory as postgres_inventory
from toolkit.topology import REGION_CODE

#: Values that one line names; a file of the project holds all of them.
_MOST = 100

_Found = TypeVar("_Found", covariant=True)


# The rule ------------------------------------------------------------------------------------


def of_expression(ruled: Mapping[str | None, int]) -> tuple[tuple[str, ...], list[Decision]]:
    """Return the regions that an expression gives, and what is wrong with what else it gives."""
    codes = tuple(
        sorted(code for code in ruled if code is not None and REGION_CODE.fullmatch(code))
    )
    wrong = {code: count for code, count in ruled.items() if code and code not in codes}
    if "" in ruled:
        wrong[""] = ruled[""]
    if not wrong:
        return codes, []
    shown = ", ".join(f"{code!r} ({count:,})" for code, count in wrong.items())
    return codes, [
        Decision(
            "[root.region] sql",
            f"it gives {len(wrong)} value(s) that are no region codes, for clients: {shown}",
            todo="let the expression give a lower-case letter, then at most 15 of a-z, 0-9 and _",
        )
    ]


def of_rule(how: Rule, root: str, values: Mapping[str | None, int], clients: int) -> list[Decision]:
    """Return what is open about the rule: clients without a region.

    Args:
        how: the rule.
        root: key of the root.
        values: those that the map misses, with their clients.
        clients: without a region.
    """
    found = []
    missed = {value: count for value, count in values.items() if value is not None}
    name = how.map_file.path.name if how.map_file is not None else "map of [root.region]"
    if missed:
        shown = ", ".join(f"{value!r} ({count:,})" for value, count in list(missed.items())[:_MOST])
        more = f" and {len(missed) - _MOST} more" if len(missed) > _MOST else ""
        found.append(
            Decision(
                name,
                f"it misses {len(missed):,} value(s) of {how.column}, with their clients: "
                f"{shown}{more}",
                todo=f'add a line for each to {name}, or default = "<region>" in [root.region]',
            )
        )
    null = values.get(None, 0) if how.column is not None else clients
    if null:
        why = {
            True: f"{how.column} is NULL",
            False: "the expression gives NULL" if how.sql else "the list does not name them",
        }[how.column is not None]
        found.append(
            Decision(
                root,
                f"{null:,} client(s) have no region: {why}",
                todo='mend them, or add default = "<region>" in [root.region]; every key is in a '
                "file of the project",
            )
        )
    return found


# The layouts ---------------------------------------------------------------------------------


def laid_out(seen: Seen, said: Mapping[str, Statement], existing: Configuration | None) -> Seen:
    """Return what was seen, with what both layouts make of it.

    Args:
        seen: what was found.
        said: every statement, the operator's own included.
        existing: the project's configuration, where there is one: its choices count.
    """
    unique = existing.file.unique if existing is not None else {}
    as_string = existing.file.columns if existing is not None else {}
    placement, metadata = _placed(seen, said)

    def decided(only: str | None = None) -> Layout:
        kept = metadata if only is None else _bare_but(metadata, only, seen.default_schema)
        mine = {
            name: scope
            for name, scope in unique.items()
            if only is None or name.startswith(f"{only}.")
        }
        return decide(
            kept,
            seen.topology,
            placement,
            default_schema=seen.default_schema,
            unique=mine,
            as_string=as_string,
            taken=extras.relation_names(seen.extras),
        )

    refused: list[tuple[str, str]] = []
    layout = _collect(decided, placement, "both", refused)
    if layout is None:
        return _refusing(seen, refused)
    schema = f"{seen.default_schema}_regional"

    def tables(only: str | None = None) -> object:
        return postgres_generate.operations(
            layout if only is None else decided(only), schema, seen.extras
        )

    def collections(only: str | None = None) -> mongo_layout.CollectionsLayout:
        return mongo_layout.collections(layout if only is None else decided(only))

    _collect(tables, placement, "postgres", refused)
    spelled = _collect(collections, placement, "mongo", refused)
    inventory = postgres_inventory.lines(layout, schema, seen.extras)
    if spelled is not None:
        inventory += mongo_inventory.lines(layout, spelled, seen.extras)
    found = replace(seen, layout=layout, uniques=tuple(uniques(layout)), inventory=tuple(inventory))
    return _refusing(found, refused)


def _placed(seen: Seen, said: Mapping[str, Statement]) -> tuple[Placement, MetaData]:
    """Return the placement that the statements give, open questions taken for shared tables."""
    settled = dict(said)
    for key, choice in seen.decisions.choices.items():
        one = settled.get(key, Statement())
        home = choice.alternatives[0] if choice.alternatives else choice.home
        # Of a table that is asked about something else its home is not stated yet either.
        free = not (one.kind or one.home or one.owner or one.owned_through)
        if home is not None and home.declared and (free or choice.alternatives):
            settled[key] = replace(one, home=home.columns)
    metadata = with_owner_columns(
        seen.metadata, seen.root, settled, default_schema=seen.default_schema
    )
    placement = infer(metadata, seen.root, settled, default_schema=seen.default_schema)
    tables = {
        key: replace(placed, kind=Kind.shared) if placed.kind is Kind.undecided else placed
        for key, placed in placement.tables.items()
    }
    return Placement(placement.root, tables), metadata


class _Attempt(Protocol[_Found]):
    def __call__(self, only: str | None = None) -> _Found: ...


def _collect(
    attempt: _Attempt[_Found],
    placement: Placement,
    backend: str,
    refused: list[tuple[str, str]],
) -> _Found | None:
    """Make an attempt; where it is refused, one for each table alone, so that all is named."""
    try:
        return attempt()
    except RegionkitError as error:
        whole = error
    before = len(refused)
    for key in placement.tables:
        try:
            attempt(key)
        except RegionkitError as error:
            _note(backend, error, refused)
    if len(refused) == before:
        _note(backend, whole, refused)
    return None


def _note(backend: str, error: RegionkitError, refused: list[tuple[str, str]]) -> None:
    text = "; ".join([error.message, *error.details]) + (f": {error.hint}" if error.hint else "")
    if (backend, text) not in refused:
        refused.append((backend, text))


def _bare_but(metadata: MetaData, key: str, default_schema: str) -> MetaData:
    """Return a schema of which one table alone has more than columns, primary and foreign keys."""
    bare = MetaData(schema=metadata.schema)
    for table in metadata.tables.values():
        copy = table.to_metadata(bare)
        copy.info.update(table.info)
        if table_key(table, default_schema) == key:
            continue
        copy.indexes.clear()
        for constraint in list(copy.constraints):
            if not isinstance(constraint, PrimaryKeyConstraint | ForeignKeyConstraint):
                copy.constraints.discard(constraint)
    return bare


def _refusing(seen: Seen, refused: Sequence[tuple[str, str]]) -> Seen:
    open_ = [
        Decision(
            "PostgreSQL"
            if backend == "postgres"
            else "MongoDB"
            if backend == "mongo"
            else "layout",
            f"cannot be carried: {text}",
            todo="follow the advice, or leave the object out",
        )
        for backend, text in refused
    ]
    return replace(seen, refused=tuple(refused), open=(*seen.open, *open_))


def uniques(layout: Layout) -> list[UniqueLine]:
    """Return what becomes of every unique constraint of a regional table."""
    words = {
        Scope.implied: "over all regions: it holds the client's or its parent's key",
        Scope.generated: "over all regions: one generator draws the values",
        Scope.region: "within a region only, as regionkit.toml says",
    }
    return [
        UniqueLine(
            key,
            unique.name,
            tuple(part.column or part.sql for part in unique.parts),
            words.get(unique.scope) or f"over all regions: kept by {unique.key_table}",
        )
        for key, table in layout.regional.items()
        for unique in table.uniques
    ]
