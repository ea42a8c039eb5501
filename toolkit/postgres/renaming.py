"""From the names of the source to those of a layout's schema, object by object. Pure.

The target is one schema: what is in the source's default one keeps its name, what is in another has
its schema in front.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Table

from toolkit import sqltext
from toolkit.extras import RELATIONS, Extra, ExtraKind
from toolkit.layout import Layout
from toolkit.names import NamePool
from toolkit.sqltext import Name, Renames
from toolkit.types import user_types

#: What is in no schema, or in that of its table.
_UNNAMED = frozenset(
    {
        ExtraKind.extension,
        ExtraKind.cast,
        ExtraKind.rule,
        ExtraKind.trigger,
        ExtraKind.policy,
        ExtraKind.row_security,
        ExtraKind.ownership,
        ExtraKind.storage,
        ExtraKind.replica_identity,
        ExtraKind.cluster_mark,
        ExtraKind.comment,
    }
)


def renames(layout: Layout, schema: str, extras: Sequence[Extra] = ()) -> Renames:
    """Return what becomes of every qualified name of the source.

    Args:
        layout: the decisions.
        schema: of the layout.
        extras: what is carried beside the tables.
    """
    default = layout.default_schema or "public"
    objects: dict[Name, Name] = {}
    for extra in _carried(extras):
        name = (extra.schema or default, extra.name)
        objects[name] = (schema, layout.object_name(extra.schema, extra.name))
        if (multi := _multirange(extra)) is not None:
            objects[multi] = (schema, layout.object_name(multi[0], multi[1]))
    _part_relations(layout, schema, extras, objects)
    relations = {
        (extra.schema or default, extra.name)
        for extra in _carried(extras)
        if extra.kind in (ExtraKind.view, ExtraKind.materialized_view)
    }
    for table in layout.metadata.tables.values():
        key = layout.key_of(table)
        own = table.schema or default
        defined = (one for column in table.columns for one in user_types(column.type))
        for type_schema, type_name in defined:
            name = (type_schema or default, type_name)
            objects[name] = (schema, layout.object_name(type_schema, type_name))
        for index in _index_names(table):
            objects[own, index] = (schema, layout.index_name(key, index))
        for column in table.columns:
            if column.identity is not None:
                sequence = f"{table.name}_{column.name}_seq"
                objects[own, sequence] = (schema, f"{layout.name(key)}_{column.name}_seq")
    for table in layout.metadata.tables.values():
        # Last: where an index, say, has the name of a table, the table is meant.
        name = (table.schema or default, table.name)
        objects[name] = (schema, layout.name(layout.key_of(table)))
        relations.add(name)
    schemas = {default, *(name[0] for name in objects)}
    return Renames(objects, frozenset(relations), dict.fromkeys(sorted(schemas), schema))


def _carried(extras: Iterable[Extra]) -> Iterator[Extra]:
    return (extra for extra in extras if extra.left is None and extra.kind not in _UNNAMED)


def _part_relations(
    layout: Layout, schema: str, extras: Sequence[Extra], objects: dict[Name, Name]
) -> None:
    """Let no view of another schema take a name that a relation of the default one has."""
    default = layout.default_schema or "public"
    named = [extra for extra in _carried(extras) if extra.kind in RELATIONS]
    taken = NamePool(
        (
            *layout.names.values(),
            layout.region_list,
            layout.link,
            *(part for table in layout.regional.values() for part in table.parts.values()),
            *(extra.name for extra in named if extra.schema is None),
        )
    )
    for extra in sorted(named, key=lambda extra: (extra.schema or "", extra.name)):
        if extra.schema is not None:
            name = layout.object_name(extra.schema, extra.name)
            objects[extra.schema or default, extra.name] = (schema, taken.claim(name))


def _multirange(extra: Extra) -> Name | None:
    """Return the name of the multirange that a range type brings; ``None`` for everything else."""
    if extra.kind is not ExtraKind.type:
        return None
    found = [token for token in sqltext.tokens(extra.definition) if token.text.strip()]
    for position, token in enumerate(found):
        if token.means("MULTIRANGE_TYPE_NAME"):
            name = sqltext.names("".join(part.text for part in found[position + 2 : position + 5]))
            return name[0], name[1]
    return None


def _index_names(table: Table) -> Iterator[str]:
    for item in (*table.constraints, *table.indexes):
        if isinstance(name := getattr(item, "name", None), str):
            yield name
