"""From extras to the operations that carry them into a layout. Pure.

What a table needs is created before the tables; the rest after foreign keys and key tables. Views,
rules, and functions that nothing else needs are *soft*: what PostgreSQL refuses of them is left
behind, with its reason. Everything else fails the revision, by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from alembic.operations import MigrateOperation

from toolkit import sqltext
from toolkit.errors import Refused
from toolkit.extras import CALLABLE, Extra, ExtraKind, guarded, guarded_rule
from toolkit.layout import Layout
from toolkit.postgres import ddl, revisions
from toolkit.postgres.grouping import with_region
from toolkit.postgres.renaming import renames
from toolkit.sqltext import Renames

_VIEWS = (ExtraKind.view, ExtraKind.materialized_view)
#: What is soft wherever it is created after the tables.
_SOFT = frozenset(
    {
        ExtraKind.collation,
        ExtraKind.type,
        ExtraKind.domain,
        ExtraKind.aggregate,
        ExtraKind.operator,
        ExtraKind.operator_family,
        ExtraKind.operator_class,
        ExtraKind.cast,
        ExtraKind.text_search_dictionary,
        ExtraKind.text_search_configuration,
        *_VIEWS,
        ExtraKind.view_index,
        ExtraKind.rule,
        ExtraKind.statistics,
        ExtraKind.comment,
    }
)
_USING = re.compile(r'\sUSING\s+(?P<method>"(?:[^"]|"")+"|\w+)')


@dataclass(frozen=True)
class Carried:
    """The operations of all extras.

    Attributes:
        before: the tables.
        after: everything else.
    """

    before: Sequence[MigrateOperation] = field(default_factory=tuple)
    after: Sequence[MigrateOperation] = field(default_factory=tuple)


def operations(layout: Layout, schema: str, extras: Sequence[Extra]) -> Carried:
    """Return the operations that create what a layout has beside its tables.

    Args:
        layout: the decisions.
        schema: of the layout.
        extras: in the order in which they can be created.

    Raises:
        Refused: something cannot be carried and is needed, or is on a table that does not exist.
    """
    one_by_one = _Carrier(layout, schema, extras)
    found = [(extra.early, list(one_by_one.carried(extra))) for extra in extras]
    return Carried(
        [op for early, ops in found if early for op in ops],
        [op for early, ops in found if not early for op in ops],
    )


def left_behind(layout: Layout, extra: Extra) -> str | None:
    """Return why an extra is not carried into the layout ``tables``; ``None`` if it is."""
    if extra.left is not None:
        return extra.left
    regional = extra.table is not None and extra.table in layout.regional
    if extra.kind is ExtraKind.cluster_mark and regional:
        return "a partitioned table cannot be marked: cluster its partitions one by one"
    if (
        extra.kind is ExtraKind.replica_identity
        and regional
        and extra.name not in ("full", "nothing")
    ):
        return (
            "the indexes of partitions have names of their own: state it on each partition with "
            "ALTER TABLE ... REPLICA IDENTITY USING INDEX"
        )
    if extra.kind is ExtraKind.comment and extra.of == "schema":
        default = layout.default_schema or "public"
        return None if extra.name == default else "the target is one schema"
    return None


class Translation:
    """What the definitions of extras are in one layout.

    Args:
        layout: the decisions.
        schema: of the layout.
        extras: all of them.
    """

    def __init__(self, layout: Layout, schema: str, extras: Sequence[Extra]) -> None:
        self.names: Renames = renames(layout, schema, extras)
        self._region = layout.region_column
        self._keys = {
            (schema, layout.name(key)): one.primary_key for key, one in layout.regional.items()
        }

    def definition(self, extra: Extra) -> str:
        """Return the definition of an extra that names what the layout has."""
        definition = self.names.apply(extra.definition)
        if extra.kind not in _VIEWS:
            return definition
        return with_region(definition, self._keys, self._region)

    def groups_by_region(self, extra: Extra) -> bool:
        """Return whether it is a view that groups by the region because it groups by a key."""
        return extra.kind in _VIEWS and self.definition(extra) != self.names.apply(extra.definition)


class _Carrier:
    """Carries the extras of one layout."""

    def __init__(self, layout: Layout, schema: str, extras: Sequence[Extra]) -> None:
        self._layout = layout
        self._schema = schema
        self._translation = Translation(layout, schema, extras)
        self._renames = self._translation.names
        self._default = layout.default_schema or "public"
        self._views = {_key(extra): extra for extra in extras if extra.kind in _VIEWS}
        #: What triggers and policies call has to be there.
        self._called = " ".join(
            extra.definition
            for extra in extras
            if extra.kind in (ExtraKind.trigger, ExtraKind.policy)
        )

    def carried(self, extra: Extra) -> Iterator[MigrateOperation]:
        if left_behind(self._layout, extra) is not None:
            return
        if extra.table is not None and extra.table not in self._layout.names:
            self._require_view(extra)
        definition = self._translation.definition(extra)
        if extra.kind is ExtraKind.trigger and extra.table not in self._views:
            yield self._trigger(extra, definition)
        elif extra.kind is ExtraKind.function and extra.arguments is None:
            yield revisions.CarryFunctionOp(self._name(extra), definition, schema=self._schema)
        else:
            yield revisions.CarryOp(
                self._words(extra),
                self._title(extra),
                ";\n".join(self._statements(extra, definition)),
                schema=self._schema,
                undo=self._undo(extra),
                soft=self._soft(extra),
            )

    def _require_view(self, extra: Extra) -> None:
        if extra.table in self._views:
            return
        raise Refused(
            f"{extra.kind} {extra.name!r} of the extras is on {extra.table!r}, which does not "
            "exist",
            hint=f"correct the line '-- regionkit: {extra.kind} ... on ...', or take it out",
        )

    def _relation(self, extra: Extra) -> str:
        """Return the name, in the target, of the table or view that an extra is on."""
        assert extra.table is not None
        if extra.table in self._layout.names:
            return self._layout.name(extra.table)
        return self._name(self._views[extra.table])

    def _name(self, extra: Extra) -> str:
        """Return what an extra is called in the target."""
        found = self._renames.objects.get((extra.schema or self._default, extra.name))
        return extra.name if found is None else found[1]

    def _trigger(self, extra: Extra, definition: str) -> MigrateOperation:
        assert extra.table is not None
        if extra.table in self._layout.regional:
            definition = guarded(replace(extra, definition=definition)).definition
        return revisions.CarryTriggerOp(
            extra.name,
            self._layout.name(extra.table),
            definition,
            schema=self._schema,
            state=extra.state,
        )

    def _soft(self, extra: Extra) -> bool:
        if extra.early:
            return False
        if extra.kind in (ExtraKind.function, ExtraKind.procedure):
            return not re.search(rf"(?<!\w){re.escape(extra.name)}(?!\w)", self._called)
        return extra.kind in _SOFT or extra.table in self._views

    def _words(self, extra: Extra) -> str:
        return f"comment on {extra.of}" if extra.of is not None else str(extra.kind)

    def _title(self, extra: Extra) -> str:
        """Return the name of an extra in the target, as it is shown."""
        if extra.of == "schema":
            return self._schema
        named = extra.kind not in (ExtraKind.storage, ExtraKind.cast, ExtraKind.row_security)
        name = self._name(extra) if named and extra.of != "column" else extra.name
        if extra.arguments is not None:
            name += f"({self._renames.apply(extra.arguments)})"
        return name if extra.table is None else f"{name} on {self._relation(extra)}"

    # Statements ------------------------------------------------------------------------------

    def _statements(self, extra: Extra, definition: str) -> list[str]:
        if extra.kind in CALLABLE:
            return [definition]
        definition = self._renamed_in_place(extra, definition)
        if extra.kind is ExtraKind.rule:
            if extra.table in self._layout.regional:
                definition = guarded_rule(replace(extra, definition=definition)).definition
            return [definition, *self._rule_state(extra)]
        found = sqltext.statements(definition)
        if extra.table not in self._layout.regional:
            return self._own_columns(extra, found)
        if extra.kind is ExtraKind.storage and extra.name == "*":
            return list(self._on_leaves(extra, found))
        if extra.kind in (
            ExtraKind.policy,
            ExtraKind.row_security,
            ExtraKind.storage,
            ExtraKind.replica_identity,
        ):
            return [*self._own_columns(extra, found), *self._on_leaves(extra, found)]
        return found

    def _renamed_in_place(self, extra: Extra, definition: str) -> str:
        """Return a definition with those names changed that PostgreSQL does not qualify."""
        if extra.kind is ExtraKind.view_index:
            return self._replaced(definition, "INDEX", extra.name, self._name(extra))
        if extra.kind in (ExtraKind.cluster_mark, ExtraKind.replica_identity):
            assert extra.table is not None
            before = "ON" if extra.kind is ExtraKind.cluster_mark else "INDEX"
            new = self._layout.index_name(extra.table, extra.name)
            return self._replaced(definition, before, extra.name, new)
        if extra.of == "schema":
            return self._replaced(definition, "SCHEMA", extra.name, self._schema)
        if extra.of == "constraint" and extra.table in self._layout.names:
            assert extra.table is not None
            new = self._layout.index_name(extra.table, extra.name)
            return self._replaced(definition, "CONSTRAINT", extra.name, new)
        return definition

    def _replaced(self, definition: str, before: str, old: str, new: str) -> str:
        if old == new:
            return definition
        found = list(sqltext.tokens(definition))
        for position, token in enumerate(found[:-2]):
            if token.means(before) and found[position + 2].is_name:
                name = found[position + 2]
                if name.name == old:
                    found[position + 2] = replace(name, text=sqltext.quoted(new))
                    break
        return "".join(token.text for token in found)

    def _own_columns(self, extra: Extra, found: list[str]) -> list[str]:
        """Return a policy's statements with its table's columns behind the name that it has."""
        if extra.kind is not ExtraKind.policy:
            return found
        return [self._requalified(extra, statement, self._relation(extra)) for statement in found]

    def _requalified(self, extra: Extra, statement: str, name: str) -> str:
        assert extra.table is not None
        old = self._layout.table(extra.table).name
        return statement if old == name else sqltext.requalified(statement, old, name)

    def _on_leaves(self, extra: Extra, found: list[str]) -> Iterator[str]:
        """Yield a table's statements for each of its partitions."""
        assert extra.table is not None
        parent = (self._schema, self._relation(extra))
        for leaf in self._layout.regional[extra.table].parts.values():
            for statement in found:
                on_leaf = sqltext.retargeted(statement, parent, (self._schema, leaf))
                if extra.kind is ExtraKind.policy:
                    on_leaf = self._requalified(extra, on_leaf, leaf)
                yield on_leaf

    def _rule_state(self, extra: Extra) -> Iterator[str]:
        if extra.state is not None:
            table = ddl.quote(self._schema, self._relation(extra))
            action = ddl.TRIGGER_STATES[extra.state]
            yield f"ALTER TABLE {table} {action} RULE {ddl.quote(extra.name)}"

    # The way back ----------------------------------------------------------------------------

    def _undo(self, extra: Extra) -> str | None:
        """Return the statements that take an extra back; ``None`` where it goes with its table."""
        maybe = "IF EXISTS " if self._soft(extra) else ""
        kind = str(extra.kind).upper()
        name = ddl.quote(self._schema, self._name(extra))
        if extra.kind is ExtraKind.operator:
            name = f"{ddl.quote(self._schema)}.{extra.name}"
        if extra.kind in CALLABLE:
            arguments = self._renames.apply(extra.arguments or "")
            if extra.kind is ExtraKind.aggregate:
                arguments = arguments or "*"
            return f"DROP {kind} {maybe}{name} ({arguments})"
        if extra.kind is ExtraKind.cast:
            return f"DROP CAST {maybe}{self._renames.apply(extra.name)}"
        if extra.kind in (ExtraKind.operator_class, ExtraKind.operator_family):
            method = _USING.search(extra.definition)
            named = f"{name} USING {method['method'] if method else 'btree'}"
            drop = f"DROP {kind} {maybe}{named}"
            if extra.kind is ExtraKind.operator_class and " FAMILY " not in extra.definition:
                # PostgreSQL made a family of that name with it.
                drop += f";\nDROP OPERATOR FAMILY IF EXISTS {named}"
            return drop
        if extra.kind is ExtraKind.ownership:
            sequence = ddl.quote(self._schema, self._name(extra))
            return f"ALTER SEQUENCE {sequence} OWNED BY NONE"
        if extra.kind in (ExtraKind.rule, ExtraKind.trigger):
            return f"DROP {kind} {maybe}{ddl.quote(extra.name)} ON " + ddl.quote(
                self._schema, self._relation(extra)
            )
        if extra.kind is ExtraKind.policy:
            assert extra.table is not None
            leaves = (
                self._layout.regional[extra.table].parts.values()
                if extra.table in self._layout.regional
                else ()
            )
            return ";\n".join(
                f"DROP POLICY {ddl.quote(extra.name)} ON {ddl.quote(self._schema, table)}"
                for table in (self._relation(extra), *leaves)
            )
        if extra.kind in (
            ExtraKind.extension,
            ExtraKind.row_security,
            ExtraKind.storage,
            ExtraKind.replica_identity,
            ExtraKind.cluster_mark,
            ExtraKind.comment,
        ):
            return None
        return f"DROP {kind} {maybe}{name}"


def _key(extra: Extra) -> str:
    """Return what an extra that rows can be selected from is called where a table is named."""
    return extra.name if extra.schema is None else f"{extra.schema}.{extra.name}"
