"""Proves that a layout has everything that its source has: what the catalogue says of both.

What ``pg_catalog`` says of the source, with the names of the target, must be what it says of the
target, but for what the layout adds: the region in keys, references and partitions, and the guard
of triggers and rules. Both have to be of one major version: views are printed in another way by
another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from toolkit import sqltext
from toolkit.extras import Extra, ExtraKind
from toolkit.layout import Layout
from toolkit.postgres import extras, inspect
from toolkit.postgres.carry import Translation, left_behind
from toolkit.postgres.inspect import Catalogue
from toolkit.postgres.session import Connection

#: SQL without what does not count.
_Form = tuple[str, ...]

_ACL = re.compile(r" acl \S*")
_GUARD = r"\(current_setting\('regionkit\.moving'::text, true\) IS DISTINCT FROM 'on'::text\)"
_ONLY_GUARD = re.compile(rf"\s+(?P<head>WHEN|WHERE) \({_GUARD}\)|\s+WHERE {_GUARD}")
_AND_GUARD = re.compile(rf"\((?P<condition>\(.*\)) AND {_GUARD}\)", re.S)
_NAME = r'(?:"(?:[^"]|"")+"|[^\s".]+)'
_INDEX = re.compile(
    r"(?P<head>CREATE (?P<unique>UNIQUE )?INDEX) "
    rf"(?P<name>{_NAME}) ON (?:ONLY )?(?P<table>{_NAME}(?:\.{_NAME})?) (?P<rest>.*)",
    re.S,
)
_DRAWN = re.compile(r" default nextval\('[^']*_seq\"?'::regclass\)")
#: What a foreign key of a layout says of itself besides the source's: it cascades, and can be
#: deferred while clients move.
_GENERATED = re.compile(r" ON UPDATE CASCADE| DEFERRABLE| MATCH FULL| NOT VALID")
_SET_NULL = re.compile(r"(ON DELETE SET NULL) \([^)]*\)")


@dataclass(frozen=True)
class Said:
    """What the catalogue says.

    Attributes:
        schemas: of each schema, by name.
        extras: what is beside the tables.
    """

    schemas: Mapping[str, Catalogue]
    extras: Sequence[Extra]


def read(connection: Connection, schemas: Sequence[str]) -> Said:
    """Read what the catalogue says of some schemas, the default one first. Writes nothing."""
    return Said(
        {schema: inspect.qualified(connection, schema) for schema in schemas},
        extras.read(connection, schemas),
    )


def differences(
    source: Said,
    target: Said,
    layout: Layout,
    schema: str,
    refused: AbstractSet[str] = frozenset(),
) -> list[str]:
    """Return one line for everything of the source that the target has not, or has otherwise. Pure.

    Args:
        source: what the catalogue says of the source.
        target: and of the layout's schema, the only one.
        layout: the decisions.
        schema: of the layout.
        refused: titles of extras that PostgreSQL refused and that are said to be left behind.
    """
    comparison = _Comparison(source, target, layout, schema, refused)
    return sorted({*comparison.tables(), *comparison.beside()})


class _Comparison:
    """Compares one source with one target."""

    def __init__(
        self,
        source: Said,
        target: Said,
        layout: Layout,
        schema: str,
        refused: AbstractSet[str],
    ) -> None:
        self._source = source
        self._target = target
        self._there = target.schemas[schema]
        self._layout = layout
        self._schema = schema
        self._refused = refused
        self._translation = Translation(layout, schema, source.extras)
        self._renames = self._translation.names
        self._default = next(iter(source.schemas))

    def _named(self, text: str) -> str:
        """Return the source's text with the target's names; a comment is nobody's name."""
        head, mark, comment = text.partition(" comment ")
        return self._renames.apply(head) + mark + comment

    # Tables ----------------------------------------------------------------------------------

    def tables(self) -> Iterator[str]:
        for key in (*self._layout.regional, *self._layout.shared):
            table = self._layout.table(key)
            catalogue = self._source.schemas[table.schema or self._default]
            name = self._layout.name(key)
            leaves = (
                list(self._layout.regional[key].parts.values())
                if key in self._layout.regional
                else []
            )
            yield from self._relation(key, catalogue["relations"][table.name], name, leaves)
            yield from self._columns(key, _of(catalogue["columns"], table.name), [name, *leaves])
            constraints = _of(catalogue["constraints"], table.name)
            yield from self._constraints(key, constraints, name, leaves)
            indexes = {
                index: text
                for index, text in catalogue["indexes"].items()
                if (parts := _INDEX.match(text)) and sqltext.names(parts["table"])[-1] == table.name
            }
            yield from self._indexes(key, indexes, name, leaves)
            for leaf in leaves:
                yield from self._on_leaf("triggers", name, leaf, _without_names)
                yield from self._on_leaf("policies", name, leaf, _as_is)

    def _relation(self, key: str, said: str, name: str, leaves: Sequence[str]) -> Iterator[str]:
        wanted = _Relation.of(self._named(said))
        if key in self._layout.regional:
            # A parent has no rows, and so no options of how they are stored.
            found = _Relation.of(self._there["relations"].get(name, ""))
            if (found.comment, found.flags) != (wanted.comment, wanted.flags):
                yield f"table {name}: {found} instead of {wanted}"
            for leaf in leaves:
                part = _Relation.of(self._there["relations"].get(leaf, ""))
                if (part.kind, part.options, part.flags) != (
                    "r " + wanted.kind[2:],
                    wanted.options,
                    wanted.flags,
                ):
                    yield f"partition {leaf}: {part} instead of {wanted}"
            return
        found = _Relation.of(self._there["relations"].get(name, ""))
        if (found.kind[2:], found.options, found.flags, found.comment) != (
            wanted.kind[2:],
            wanted.options,
            wanted.flags,
            wanted.comment,
        ):
            yield f"table {name}: {found} instead of {wanted}"

    def _columns(
        self, key: str, columns: Mapping[str, str], relations: Sequence[str]
    ) -> Iterator[str]:
        for relation in relations:
            there = _of(self._there["columns"], relation)
            order = [column for column in _by_number(there) if column in columns]
            if order != _by_number(columns):
                yield f"columns of {relation}: {order} instead of {_by_number(columns)}"
            for column, said in columns.items():
                wanted = _column(self._named(said))
                found = _column(there.get(column, ""))
                if relation != self._layout.name(key):
                    # A partition has no comments, and no identity of its own before PostgreSQL 17.
                    wanted, found = (
                        wanted.partition(" comment ")[0],
                        found.partition(" comment ")[0],
                    )
                if not _alike(wanted, found):
                    yield f"column {column} of {relation}: {found!r} instead of {wanted!r}"

    def _constraints(
        self, key: str, constraints: Mapping[str, str], name: str, leaves: Sequence[str]
    ) -> Iterator[str]:
        there = _of(self._there["constraints"], name)
        for constraint, said in constraints.items():
            if said.startswith(("NOT NULL", "TRIGGER")):
                continue  # The column says so, and so does the trigger.
            own = self._layout.index_name(key, constraint)
            wanted = self._constraint(key, self._named(said))
            found = there.get(own)
            if found is None:
                yield f"constraint {own} of {name} is missing"
                continue
            if self._constraint(key, found) != wanted:
                yield f"constraint {own} of {name}: {found!r} instead of {said!r}"
            definition = found.partition(" comment ")[0]
            for leaf in leaves:
                parts = {
                    text.partition(" comment ")[0]
                    for text in _of(self._there["constraints"], leaf).values()
                }
                if definition not in parts:
                    yield f"partition {leaf} has no constraint like {own} of {name}"

    def _constraint(self, key: str, said: str) -> _Form:
        """Return a constraint without what the layout adds to it."""
        head, mark, comment = said.partition(" comment ")
        head = self._without_region(key, head)
        if head.startswith("FOREIGN KEY"):
            head = _SET_NULL.sub(r"\1", _GENERATED.sub("", head))
        return (*sqltext.comparable(head), mark + comment)

    def _without_region(self, key: str, text: str) -> str:
        """Return SQL whose lists of columns lack the region, and the regions of references."""
        added = {self._layout.region_column}
        added |= {
            column
            for reference, column in self._layout.reference_columns.items()
            if reference.table == key
        }
        if not (key in self._layout.regional or added - {self._layout.region_column}):
            return text
        for column in sorted(added, key=len, reverse=True):
            name = rf"(?:{re.escape(sqltext.quoted(column))}|\b{re.escape(column)}\b)"
            text = re.sub(rf", {name}(?: WITH =)?(?=[,)])|\b{name} WITH =, ", "", text)
        return text

    def _indexes(
        self, key: str, indexes: Mapping[str, str], name: str, leaves: Sequence[str]
    ) -> Iterator[str]:
        for index, said in indexes.items():
            own = self._layout.index_name(key, index)
            wanted = self._index(key, self._named(said))
            found = self._there["indexes"].get(own)
            if found is None:
                yield f"index {own} of {name} is missing"
                continue
            if self._index(key, found) != wanted:
                yield f"index {own} of {name}: {found!r} instead of {said!r}"
            for leaf in leaves:
                plain = _index_rest(found)
                if plain not in {
                    _index_rest(text)
                    for text in self._there["indexes"].values()
                    if (parts := _INDEX.match(text)) and sqltext.names(parts["table"])[-1] == leaf
                }:
                    yield f"partition {leaf} has no index like {own} of {name}"

    def _index(self, key: str, said: str) -> _Form:
        match = _INDEX.match(said)
        assert match is not None, said
        rest = match["rest"]
        if match["unique"]:
            rest = self._without_region(key, rest)
        head, mark, comment = rest.partition(" comment ")
        return (match["head"], *sqltext.comparable(head), mark + comment)

    def _on_leaf(
        self, kind: str, name: str, leaf: str, form: Callable[[str, str, str], _Form]
    ) -> Iterator[str]:
        mine = _of(self._there[kind], leaf)
        for item, said in _of(self._there[kind], name).items():
            if item not in mine:
                yield f"partition {leaf} lacks what {name} has in {kind}: {item}"
            elif form(mine[item], leaf, name) != form(said, name, name):
                yield f"{kind} of partition {leaf}: {item} is {mine[item]!r} instead of {said!r}"

    # Beside the tables -----------------------------------------------------------------------

    def beside(self) -> Iterator[str]:
        there = {self._title(extra, mapped=False): extra for extra in self._target.extras}
        for extra in self._source.extras:
            if left_behind(self._layout, extra) is not None or extra.title in self._refused:
                continue
            if extra.kind is ExtraKind.extension or _is_in_catalogue(extra, self._layout):
                continue
            title = self._title(extra, mapped=True)
            found = there.get(title)
            if found is None or found.left is not None:
                yield f"{title} is missing"
                continue
            wanted = sqltext.comparable(self._translation.definition(extra))
            if extra.kind is ExtraKind.comment:
                wanted, said = _said(extra.definition), _said(found.definition)
            else:
                said = sqltext.comparable(_unguarded(found))
                wanted = self._with_names(extra, wanted)
            if said != wanted or found.state != extra.state:
                yield f"{title}: {found.definition!r} instead of {extra.definition!r}"

    def _title(self, extra: Extra, *, mapped: bool) -> str:
        """Return what tells an extra from all others, with the names that it has in the target."""
        table, name, arguments = extra.table, extra.name, extra.arguments
        if mapped:
            name = self._name(extra)
            arguments = None if arguments is None else self._renames.apply(arguments)
            table = None if table is None else self._relation_name(table)
        if extra.kind is ExtraKind.cast:
            name = " ".join(sqltext.comparable(name))
        shown = "" if arguments is None else f"({' '.join(sqltext.comparable(arguments))})"
        words = (str(extra.kind), extra.of, name + shown, f"on {table}" if table else None)
        return " ".join(word for word in words if word)

    def _name(self, extra: Extra) -> str:
        """Return what an extra of the source is called in the target."""
        if extra.of == "schema":
            return self._schema
        if extra.kind is ExtraKind.cast:
            return self._renames.apply(extra.name)
        if extra.kind in (ExtraKind.storage, ExtraKind.row_security) or extra.of == "column":
            return extra.name
        if extra.table in self._layout.names and (
            extra.of == "constraint"
            or extra.kind in (ExtraKind.replica_identity, ExtraKind.cluster_mark)
        ):
            assert extra.table is not None
            return self._layout.index_name(extra.table, extra.name)
        default = self._layout.default_schema or "public"
        found = self._renames.objects.get((extra.schema or default, extra.name))
        return extra.name if found is None else found[1]

    def _relation_name(self, key: str) -> str:
        if key in self._layout.names:
            return self._layout.name(key)
        schema, _, name = key.rpartition(".")
        default = self._layout.default_schema or "public"
        found = self._renames.objects.get((schema or default, name))
        return key if found is None else found[1]

    def _with_names(self, extra: Extra, wanted: _Form) -> _Form:
        """Return a definition with those names changed that PostgreSQL does not qualify."""
        if extra.kind is ExtraKind.policy and extra.table is not None:
            old, new = self._layout.table(extra.table).name, self._layout.name(extra.table)
            return _qualified_by(wanted, old, new)
        if extra.kind in (ExtraKind.cluster_mark, ExtraKind.replica_identity, ExtraKind.view_index):
            return _qualified_by(wanted, extra.name, self._name(extra))
        return wanted


@dataclass(frozen=True)
class _Relation:
    """The text of a relation, taken apart."""

    kind: str
    options: str
    flags: str
    comment: str

    @classmethod
    def of(cls, said: str) -> _Relation:
        head, _, comment = said.partition(" comment ")
        head = _ACL.sub("", head)
        flags = " ".join(word for word in (" row security", " forced") if word in head)
        options = re.search(r" with (\S+)", head)
        return cls(head[:3], options[1] if options else "", flags, comment)


def _of(objects: Mapping[str, str], table: str) -> dict[str, str]:
    """Return the parts of one table, without its name in front."""
    return {
        name.removeprefix(f"{table}."): text
        for name, text in objects.items()
        if name.startswith(f"{table}.")
    }


def _by_number(columns: Mapping[str, str]) -> list[str]:
    return sorted(columns, key=lambda column: int(columns[column].split(" ")[0]))


def _column(said: str) -> str:
    """Return what a column is, without its number and its privileges."""
    return _ACL.sub("", said.partition(" ")[2])


def _alike(wanted: str, found: str) -> bool:
    """Return whether two columns are the same.

    A cascade makes ``always`` ``by default``, and before PostgreSQL 17 the identity of a
    partitioned table is a sequence that its partitions draw from too.
    """
    if " identity " in wanted:
        found = _DRAWN.sub(" identity d", found)
    one, other = (
        (*sqltext.comparable(head), comment)
        for head, _, comment in (text.partition(" comment ") for text in (wanted, found))
    )
    return other in (one, _by_default(one))


def _by_default(form: _Form) -> _Form:
    return tuple(
        "=d" if word == "=a" and form[position - 1] == "=identity" else word
        for position, word in enumerate(form)
    )


def _index_rest(said: str) -> str:
    match = _INDEX.match(said)
    assert match is not None, said
    return f"{match['head']} {match['rest'].partition(' comment ')[0]}"


def _without_names(said: str, table: str, parent: str) -> _Form:
    head = said.partition(" comment ")[0]
    return _qualified_by(sqltext.comparable(head), table, parent)


def _as_is(said: str, table: str, parent: str) -> _Form:
    return _qualified_by(sqltext.comparable(said), table, parent)


def _qualified_by(form: Iterable[str], old: str, new: str) -> _Form:
    """Return SQL in which another name stands for a table."""
    return tuple(f"={new}" if word == f"={old}" else word for word in form)


def _said(comment: str) -> _Form:
    return (comment.partition(" IS ")[2],)


def _unguarded(extra: Extra) -> str:
    """Return a trigger or a rule without the guard that keeps it silent while rows move."""
    if extra.kind not in (ExtraKind.trigger, ExtraKind.rule):
        return extra.definition
    text = _AND_GUARD.sub(lambda found: found["condition"], extra.definition)
    return _ONLY_GUARD.sub("", text)


def _is_in_catalogue(extra: Extra, layout: Layout) -> bool:
    """Return whether the comparison of tables has it already: options of rows, row security."""
    on_table = extra.table in layout.names
    return on_table and (
        extra.kind is ExtraKind.row_security
        or (extra.kind is ExtraKind.storage and extra.name == "*")
    )
