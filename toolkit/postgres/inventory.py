"""What becomes of each object of a source in the layout ``tables``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Computed

from toolkit.extras import Extra, ExtraKind
from toolkit.inventory import Line, Outcome, constraints, types
from toolkit.layout import Layout, Scope
from toolkit.placement import Role
from toolkit.postgres.carry import Translation, left_behind

#: Of a regional table: said of the parent, and of each partition.
_ON_PARTITIONS = (
    ExtraKind.policy,
    ExtraKind.row_security,
    ExtraKind.storage,
    ExtraKind.replica_identity,
)
_ROLES = {
    Role.home: "with the region: the rows follow",
    Role.same_region: "with the region of the row",
}


def lines(layout: Layout, schema: str, extras: Sequence[Extra]) -> list[Line]:
    """Return a line for every object: tables and what is on them, then what is beside them.

    Args:
        layout: the decisions.
        schema: of the layout.
        extras: what is beside the tables.
    """
    found: list[Line] = []
    for key in (*layout.regional, *layout.shared):
        found += _table(layout, key)
    for type_schema, name in types(layout, extras):
        called = layout.object_name(type_schema, name)
        outcome = Outcome.carried if called == name else Outcome.translated
        own = ".".join(part for part in (type_schema, name) if part)
        found.append(_line("type", own, outcome, "" if called == name else f"is called {called}"))
    translation = Translation(layout, schema, extras)
    default = layout.default_schema or "public"
    for extra in extras:
        outcome, reason = _beside(layout, extra)
        target = translation.names.objects.get((extra.schema or default, extra.name))
        if translation.groups_by_region(extra):
            outcome, reason = Outcome.translated, "groups by the region as well as by the key"
        if not reason and extra.schema is not None and target is not None:
            outcome, reason = Outcome.translated, f"is called {target[1]}"
        found.append(_line(*_split(extra), outcome, reason))
    return found


def _line(kind: str, name: str, outcome: Outcome, reason: str = "") -> Line:
    return Line("postgres", kind, name, outcome, reason)


def _split(extra: Extra) -> tuple[str, str]:
    """Return the kind and the rest of an extra's title."""
    return str(extra.kind), extra.title.removeprefix(f"{extra.kind} ")


def _table(layout: Layout, key: str) -> Iterator[Line]:
    table, regional = layout.table(key), key in layout.regional
    called = layout.name(key)
    reasons = [f"is called {called}"] if called != table.name else []
    if regional:
        reasons.append(f"one partition for each of {len(layout.topology.codes)} regions")
    outcome = Outcome.translated if reasons else Outcome.carried
    yield _line("table", key, outcome, ", ".join(reasons))
    uniques = {unique.name: unique for unique in layout.regional[key].uniques} if regional else {}
    for kind, name in constraints(table):
        own = f"{name} of {key}"
        if name in uniques:
            unique = uniques[name]
            text = f"with the region; {unique.scope.value}"
            if unique.scope is Scope.key_table:
                text += f" {unique.key_table}"
            yield _line(kind, own, Outcome.translated, text)
        elif regional and kind in ("primary key", "unique", "unique index"):
            yield _line(kind, own, Outcome.translated, "with the region")
        elif regional and kind == "exclusion constraint":
            yield _line(kind, own, Outcome.translated, "with the region, in each partition")
        else:
            yield _line(kind, own, Outcome.carried)
    for reference, role in layout.placement[key].roles.items():
        name = f"{reference.name or reference} of {key}"
        if not reference.declared:
            yield _line("foreign key", name, Outcome.translated, "stated in regionkit.toml")
        elif role is Role.plain:
            yield _line("foreign key", name, Outcome.carried)
        elif role is Role.foreign_reference:
            text = f"with the region of the other row, {layout.reference_columns[reference]}"
            yield _line("foreign key", name, Outcome.translated, text)
        else:
            yield _line("foreign key", name, Outcome.translated, _ROLES[role])
    for column in table.columns:
        own = f"{column.name} of {key}"
        if isinstance(column.server_default, Computed):
            yield _line("generated column", own, Outcome.carried)
        elif column.identity is not None:
            yield _line("identity", own, Outcome.carried, "one sequence for all regions")
        elif column.server_default is not None:
            yield _line("default", own, Outcome.carried)


def _beside(layout: Layout, extra: Extra) -> tuple[Outcome, str]:
    if extra.kind is ExtraKind.privileges and "cutover" in (extra.left or ""):
        return Outcome.elsewhere, extra.left or ""
    left = left_behind(layout, extra)
    if left is not None:
        return Outcome.left_behind, left
    if extra.table not in layout.regional:
        if extra.kind in (ExtraKind.view, ExtraKind.materialized_view):
            return Outcome.carried, "unless PostgreSQL refuses it: apply says so"
        return Outcome.carried, ""
    if extra.kind in (ExtraKind.trigger, ExtraKind.rule):
        if " FOR EACH STATEMENT" in extra.definition:
            return Outcome.carried, ""
        return Outcome.translated, "silent while regionkit moves or loads rows"
    if extra.kind in _ON_PARTITIONS:
        where = "on each partition" if extra.name == "*" else "on the table and each partition"
        if extra.kind is ExtraKind.row_security and extra.name == "forced":
            where += "; to read such a table takes BYPASSRLS, also for migrate and verify"
        return Outcome.translated, where
    return Outcome.carried, ""
