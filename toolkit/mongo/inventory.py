"""What becomes of each object of a source in the layout ``collections``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.extras import Extra, ExtraKind
from toolkit.inventory import Line, Outcome, constraints, types
from toolkit.layout import Layout
from toolkit.mongo.indexes import NoteKind
from toolkit.mongo.layout import CollectionsLayout

_CODE = "MongoDB runs no SQL: the application has to do it"
_QUERY = "MongoDB has no SQL: write it as an aggregation"
#: Why MongoDB has no counterpart.
_REASONS = {
    ExtraKind.extension: "values of its types are carried, its functions are not",
    ExtraKind.collation: "strings compare as bytes",
    ExtraKind.sequence: "no generator: writers supply the key",
    ExtraKind.ownership: "no generator: writers supply the key",
    ExtraKind.function: _CODE,
    ExtraKind.procedure: _CODE,
    ExtraKind.aggregate: _QUERY,
    ExtraKind.operator: _QUERY,
    ExtraKind.operator_family: _QUERY,
    ExtraKind.operator_class: _QUERY,
    ExtraKind.cast: _QUERY,
    ExtraKind.text_search_dictionary: _QUERY,
    ExtraKind.text_search_configuration: _QUERY,
    ExtraKind.view: _QUERY,
    ExtraKind.materialized_view: _QUERY,
    ExtraKind.view_index: "its view is left behind",
    ExtraKind.rule: _CODE,
    ExtraKind.trigger: _CODE,
    ExtraKind.policy: "MongoDB has no policies: the application keeps rows apart",
    ExtraKind.row_security: "MongoDB has no policies: the application keeps rows apart",
    ExtraKind.storage: "WiredTiger stores documents in its own way",
    ExtraKind.statistics: "MongoDB's planner keeps none",
    ExtraKind.replica_identity: "the oplog names documents by their _id",
    ExtraKind.cluster_mark: "documents are in the order of their insertion",
}
_TYPES = {
    ExtraKind.type: "as labels, subdocuments or ranges, in the validator of each collection",
    ExtraKind.domain: "as its base type; its checks and its default are left behind",
}
_OUTCOMES = {
    NoteKind.changed: Outcome.translated,
    NoteKind.audited: Outcome.translated,
    NoteKind.left_behind: Outcome.left_behind,
}


def lines(layout: Layout, made: CollectionsLayout, extras: Sequence[Extra]) -> list[Line]:
    """Return a line for every object: tables and what is on them, then what is beside them.

    Args:
        layout: the decisions.
        made: the layout as it is spelled out for MongoDB.
        extras: what is beside the tables.
    """
    found: list[Line] = []
    noted: set[tuple[str, str]] = set()
    for note in made.notes:
        noted.add((note.table, note.subject))
        kind, _, name = note.subject.rpartition(" ")
        text = f"audited: {note.text}" if note.kind is NoteKind.audited else note.text
        shown = f"{name} of {note.table}"
        found.append(_line(kind or "table", shown, _OUTCOMES[note.kind], text))
    for key in (*layout.regional, *layout.shared):
        found += _table(layout, made, key, noted)
    for schema, name in types(layout, extras):
        own = ".".join(part for part in (schema, name) if part)
        found.append(_line("type", own, Outcome.translated, _TYPES[ExtraKind.type]))
    for extra in extras:
        outcome, reason = _beside(extra)
        found.append(
            _line(str(extra.kind), extra.title.removeprefix(f"{extra.kind} "), outcome, reason)
        )
    return found


def _line(kind: str, name: str, outcome: Outcome, reason: str = "") -> Line:
    return Line("mongo", kind, name, outcome, reason)


def _table(
    layout: Layout, made: CollectionsLayout, key: str, noted: set[tuple[str, str]]
) -> Iterator[Line]:
    if key in layout.regional:
        text = f"one collection for each of {len(layout.topology.codes)} regions"
        yield _line("table", key, Outcome.translated, text)
    else:
        yield _line("table", key, Outcome.translated, f"the collection {made.shared[key].name}")
    known = {name for table, subject in noted if table == key for name in subject.split(" ")}
    for kind, name in constraints(layout.table(key)):
        if name in known:
            continue
        if kind == "primary key":
            yield _line(kind, f"{name} of {key}", Outcome.translated, "is the _id")
        else:
            yield _line(kind, f"{name} of {key}", Outcome.translated, "an index")


def _beside(extra: Extra) -> tuple[Outcome, str]:
    if extra.kind is ExtraKind.privileges:
        return Outcome.left_behind, "grant roles in MongoDB by hand"
    if extra.left is not None:
        return Outcome.left_behind, extra.left
    if extra.kind in _TYPES:
        return Outcome.translated, _TYPES[extra.kind]
    if extra.kind is ExtraKind.comment:
        return Outcome.left_behind, "only tables and columns have a description"
    return Outcome.left_behind, _REASONS[extra.kind]
