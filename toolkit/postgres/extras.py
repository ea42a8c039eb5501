"""Reads from a source what its ``MetaData`` loses, in the order in which it can be created."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit.extras import Extra, ExtraKind, in_schemas
from toolkit.placement import key_of
from toolkit.postgres import ddl, extras_queries, session
from toolkit.postgres.inspect import FROZEN_TRIGGER
from toolkit.postgres.session import Connection

#: A catalogue and a number within it.
Node = tuple[int, int]

#: The order in which kinds are created where nothing else says.
_RANKS = {kind: rank for rank, kind in enumerate(ExtraKind)}
#: What is made before the tables if no table is needed for it.
_TYPES = (ExtraKind.collation, ExtraKind.sequence, ExtraKind.type, ExtraKind.domain)
_CALL = re.compile(r"(\w+)\s*\(")


@dataclass(frozen=True)
class _Found:
    """An extra as it was read.

    Attributes:
        extra: what it is.
        node: how the catalogue knows it; ``None`` for what nothing depends on.
        address: the words behind ``COMMENT ON``; ``None`` where there are none.
    """

    extra: Extra
    node: Node | None
    address: str | None

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        """What it is sorted by where it needs nothing."""
        extra = self.extra
        parts = (extra.schema or "", extra.table or "", extra.name, extra.arguments or "")
        return (_RANKS[extra.kind], *parts)


def read(
    connection: Connection, schemas: Sequence[str], *, called: str | None = None
) -> list[Extra]:
    """Read everything of some schemas that is not in their ``MetaData``.

    The number of queries does not depend on the number of objects. Nothing is written, and what
    belongs to an extension is left out, but the extensions that are needed.

    Args:
        connection: to the source.
        schemas: to read; the first is the default one, whose objects are named without it.
        called: what the default schema is called in the result, where a cutover has renamed it.

    Returns:
        First what is created before the tables, then what is created after them, then what is left
        behind; each in an order in which it can be created, the same at every reading.
    """
    # Rolled back, because a setting outlives a savepoint.
    with connection.transaction(force_rollback=True):
        session.set_for_transaction(connection, {"search_path": "", "quote_all_identifiers": "off"})
        found = _Reader(connection, schemas).read()
    if called is None or called == schemas[0]:
        return found
    renamed = {schemas[0]: called}
    return [
        replace(
            extra,
            name=called if extra.of == "schema" and extra.name == schemas[0] else extra.name,
            definition=_called(in_schemas(extra.definition, renamed), extra, called),
            arguments=None if extra.arguments is None else in_schemas(extra.arguments, renamed),
        )
        for extra in found
    ]


def _called(definition: str, extra: Extra, called: str) -> str:
    """Return a comment on the default schema with the name that it has in the result."""
    if extra.of != "schema" or extra.schema is not None:
        return definition
    head, _, text = definition.partition(" IS ")
    return f"COMMENT ON SCHEMA {ddl.quote(called)} IS {text}" if head else definition


class _Reader:
    """Reads once."""

    def __init__(self, connection: Connection, schemas: Sequence[str]) -> None:
        self._connection = connection
        self._default = schemas[0]
        numbers = connection.execute(
            "SELECT array_agg(oid) FROM pg_namespace WHERE nspname = ANY (%s)", (list(schemas),)
        ).fetchone()
        assert numbers is not None
        self._parameters = {"schemas": numbers[0] or [], "frozen": FROZEN_TRIGGER}

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        return self._connection.execute(query, self._parameters).fetchall()

    def read(self) -> list[Extra]:
        found = [self._found(row) for query in extras_queries.QUERIES for row in self._rows(query)]
        left = sorted((one for one in found if one.extra.left is not None), key=_order)
        found = sorted((one for one in found if one.extra.left is None), key=_order)
        needs = self._needs()
        found, idle = self._needed_extensions(found, needs)
        early = self._early(found, needs)
        found += self._comments(found)
        ordered = _in_order(found, needs)
        return [
            *(replace(one.extra, early=True) for one in ordered if one.node in early),
            *(one.extra for one in ordered if one.node not in early),
            *(one.extra for one in sorted([*left, *idle], key=_order)),
        ]

    def _found(self, row: tuple[object, ...]) -> _Found:
        values = dict(zip(extras_queries.COLUMNS, row, strict=True))
        text = {name: None if value is None else str(value) for name, value in values.items()}
        name, kind = text["name"], ExtraKind(str(text["kind"]))
        assert name is not None
        table = None
        if text["table"] is not None:
            table = key_of(text["table_schema"], text["table"], self._default)
        extra = Extra(
            kind,
            name,
            text["definition"] or "" if text["left"] is None else "",
            table,
            text["state"],
            None if text["schema"] == self._default else text["schema"],
            text["arguments"],
            left=text["left"],
        )
        return _Found(extra, _node(row[0], row[1]), text["address"])

    def _needs(self) -> dict[Node, set[Node]]:
        """Return which object needs which; what is a part of another stands for the whole."""
        parts = {
            (int(str(a)), int(str(b))): (int(str(c)), int(str(d)))
            for a, b, c, d in self._rows(extras_queries.PARTS)
        }

        def whole(node: Node) -> Node:
            seen = {node}
            while node in parts and parts[node] not in seen:
                node = parts[node]
                seen.add(node)
            return node

        needs: dict[Node, set[Node]] = {}
        for a, b, c, d in self._rows(extras_queries.NEEDS):
            one, other = whole((int(str(a)), int(str(b)))), whole((int(str(c)), int(str(d))))
            if one != other:
                needs.setdefault(one, set()).add(other)
        return needs

    def _tables(self) -> list[Node]:
        return [(int(str(a)), int(str(b))) for a, b in self._rows(extras_queries.TABLES)]

    def _needed_extensions(
        self, found: Sequence[_Found], needs: Mapping[Node, set[Node]]
    ) -> tuple[list[_Found], list[_Found]]:
        """Divide what was found into what is needed, and extensions that nothing needs."""
        mine = {*self._tables(), *(one.node for one in found if not _is_extension(one))}
        needed = {other for node in mine if node is not None for other in needs.get(node, ())}
        # A body in quotes names what it calls, and the catalogue does not know it.
        called = {
            word
            for one in found
            if one.extra.kind in (ExtraKind.function, ExtraKind.procedure)
            for word in _CALL.findall(one.extra.definition)
        }
        for extension, function in self._rows(extras_queries.EXTENSION_FUNCTIONS):
            if str(function) in called:
                needed |= {
                    one.node
                    for one in found
                    if _is_extension(one) and one.node and one.node[1] == int(str(extension))
                }
        kept = [one for one in found if not _is_extension(one) or one.node in needed]
        idle = [
            _Found(
                replace(one.extra, left="nothing that is carried needs it", definition=""),
                None,
                None,
            )
            for one in found
            if _is_extension(one) and one.node not in needed
        ]
        return kept, idle

    def _early(self, found: Sequence[_Found], needs: Mapping[Node, set[Node]]) -> set[Node | None]:
        """Return what is created before the tables: what they need, and types that need none."""
        relations = {*self._tables()}
        relations |= {
            one.node
            for one in found
            if one.node is not None
            and one.extra.kind in (ExtraKind.view, ExtraKind.materialized_view)
        }
        starts = list(self._tables())
        starts += [
            one.node
            for one in found
            if one.node is not None
            and one.extra.kind in _TYPES
            and not relations & _reached([one.node], needs)
        ]
        early: set[Node | None] = {*_reached(starts, needs), *starts}
        early |= {one.node for one in found if one.node is not None and _is_extension(one)}
        return early

    def _comments(self, found: Sequence[_Found]) -> list[_Found]:
        """Return the comments on what was found, and on parts of tables."""
        texts = {
            (int(str(catalogue)), int(str(number))): str(text)
            for catalogue, number, text in self._rows(extras_queries.DESCRIPTIONS)
        }
        comments = []
        for one in found:
            said = texts.get(one.node) if one.node is not None else None
            if said is None or one.address is None:
                continue
            extra = one.extra
            comments.append(
                Extra(
                    ExtraKind.comment,
                    extra.name,
                    f"COMMENT ON {one.address} IS {ddl.literal(said).strip()}",
                    extra.table,
                    schema=extra.schema,
                    arguments=extra.arguments,
                    of=extra.kind,
                )
            )
        known = {comment.title for comment in comments}
        for of, schema, name, table_schema, table, address, text in self._rows(
            extras_queries.COMMENTS
        ):
            key = None
            if table is not None:
                key = key_of(str(table_schema), str(table), self._default)
            comment = Extra(
                ExtraKind.comment,
                str(name),
                f"COMMENT ON {address} IS {ddl.literal(str(text)).strip()}",
                key,
                schema=None if schema in (None, self._default) else str(schema),
                of=str(of),
            )
            if comment.title not in known:
                comments.append(comment)
        return [_Found(comment, None, None) for comment in comments]


def _node(catalogue: object, number: object) -> Node | None:
    return None if number is None else (int(str(catalogue)), int(str(number)))


def _order(one: _Found) -> tuple[int, str, str, str, str]:
    return one.order


def _is_extension(one: _Found) -> bool:
    return one.extra.kind is ExtraKind.extension


def _reached(starts: Iterable[Node], needs: Mapping[Node, set[Node]]) -> set[Node]:
    """Return everything that is needed, directly or not; the starts only if they are too."""
    found: set[Node] = set()
    left = list(starts)
    while left:
        for other in needs.get(left.pop(), ()):
            if other not in found:
                found.add(other)
                left.append(other)
    return found


def _in_order(found: Sequence[_Found], needs: Mapping[Node, set[Node]]) -> list[_Found]:
    """Return what was found, each after what it needs; by kind and name where that leaves a choice.

    What needs each other in a circle (an operator and its commutator) is in the order of names.
    """
    nodes = {one.node: one for one in found if one.node is not None}
    waits: dict[Node, set[Node]] = {}
    for node in nodes:
        # Through what is no extra: a view needs what the table that it reads from needs.
        waits[node] = {other for other in _reached([node], needs) if other in nodes} - {node}
    for node, others in waits.items():
        others -= {other for other in others if node in waits[other]}
    followers: dict[Node, list[Node]] = {}
    for node, others in waits.items():
        for other in others:
            followers.setdefault(other, []).append(node)
    ready = [
        (one.order, index)
        for index, one in enumerate(found)
        if one.node is None or not waits[one.node]
    ]
    heapq.heapify(ready)
    indexes = {one.node: index for index, one in enumerate(found) if one.node is not None}
    ordered: list[_Found] = []
    while ready:
        _, index = heapq.heappop(ready)
        one = found[index]
        ordered.append(one)
        for follower in followers.get(one.node, ()) if one.node is not None else ():
            waits[follower] -= {one.node}
            if not waits[follower]:
                heapq.heappush(ready, (found[indexes[follower]].order, indexes[follower]))
    return ordered
