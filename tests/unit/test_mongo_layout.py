"""Awkward schemas become collections that keep what they can and name what they cannot."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from bson.int64 import Int64
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Interval,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, INET, JSONB, OID

from toolkit.layout import decide
from toolkit.mongo.indexes import FOLDING
from toolkit.mongo.layout import CollectionsLayout, collections
from toolkit.mongo.shape import row_digest
from toolkit.placement import Kind, Statement, infer
from toolkit.topology import Region, Topology

TOPOLOGY = Topology((Region("n"), Region("s")))


def spelled(
    metadata: MetaData,
    root: str,
    statements: dict[str, Statement] | None = None,
    unique: dict[str, str] | None = None,
) -> CollectionsLayout:
    placement = infer(metadata, root, statements or {})
    return collections(decide(metadata, TOPOLOGY, placement, unique=unique))


def household() -> MetaData:
    """A root with a composite text key, and everything that is awkward around it."""
    metadata = MetaData()
    Table(
        "Kind $1",
        metadata,
        Column("code", Text, primary_key=True, comment="Short"),
        Column("from", Date),
        UniqueConstraint("from", name="kind_from"),
        comment="Kinds",
    )
    Table(
        "Member",
        metadata,
        Column("club", Text, primary_key=True),
        Column("no", Integer, primary_key=True, autoincrement=False),
        Column("_id", Text, nullable=False),
        Column("$a.b", Text),
        Column("seen", DateTime(timezone=True)),
        Column("seen_us", Integer),
        Column("region", Text),
        Column("kind", Text, ForeignKey("Kind $1.code")),
        Column("friend_club", Text),
        Column("friend_no", Integer),
        Column("nick", Text),
        ForeignKeyConstraint(["friend_club", "friend_no"], ["Member.club", "Member.no"]),
        UniqueConstraint("nick", name="member_nick"),
        CheckConstraint("no > 0", name="positive"),
    )
    visit = Table(
        "visit",
        metadata,
        Column("at", DateTime(timezone=True), primary_key=True),
        Column("club", Text, primary_key=True),
        Column("no", Integer, primary_key=True),
        Column("paid", Numeric(10, 2)),
        Column("tags", ARRAY(Text)),
        Column("note", JSONB),
        Column("ip", INET, server_default=text("'::1'")),
        Column("twice", Numeric, Computed("paid * 2")),
        ForeignKeyConstraint(["club", "no"], ["Member.club", "Member.no"]),
    )
    Index("visit_paid", visit.c.paid, postgresql_where=visit.c.paid > 0)
    Index("visit_lower", func.lower(visit.c.club))
    Index("visit_tags", visit.c.tags, postgresql_using="gin")
    Index("visit_both", visit.c.tags, visit.c.note)
    Index("visit_down", visit.c.at.desc(), visit.c.paid.desc().nulls_last())
    Table(
        "log",
        metadata,
        Column("club", Text),
        Column("no", Integer),
        Column("line", Text),
        ForeignKeyConstraint(["club", "no"], ["Member.club", "Member.no"]),
    )
    return metadata


@pytest.fixture(scope="module")
def layout() -> CollectionsLayout:
    return spelled(household(), "Member")


def schema(layout: CollectionsLayout, key: str) -> dict[str, Any]:
    if key in layout.shared:
        found: dict[str, Any] = layout.shared[key].validator["$jsonSchema"]
    else:
        found = layout.regional[key].validator["$jsonSchema"]
    return found


def index(layout: CollectionsLayout, key: str, name: str) -> Any:
    where: Any = layout.regional.get(key) or layout.shared[key]
    return next(one for one in where.indexes if one.name == name)


def test_collections_and_their_order(layout: CollectionsLayout) -> None:
    assert [one.name for one in layout.collections()] == [
        "region",
        "Kind _1",
        "Member_region",
        "Member_nick_key",
        "Member_n",
        "Member_s",
        "log_n",
        "log_s",
        "visit_n",
        "visit_s",
    ]
    assert [view.names for view in layout.views if view.name == "Member"] == [
        ("Member_n", "Member_s")
    ]
    assert layout.collection("Member", "s") == "Member_s"
    assert layout.collection("Kind $1") == "Kind _1"
    with pytest.raises(KeyError):
        layout.collection("Member")


def test_fields_that_mongodb_cannot_hold_well_are_renamed(layout: CollectionsLayout) -> None:
    names = layout.shapes["Member"].names()
    assert names == [
        "_id",
        "home_region",
        "id_",
        "_a_b",
        "seen",
        "seen__us",
        "seen_us",
        "region",
        "kind",
        "friend_club",
        "friend_no",
        "nick",
        "friend_club_friend_no_region",
    ]
    assert layout.shapes["Member"].field("seen_us").names == ("seen_us",)
    assert layout.shapes["Member"].field("seen").names == ("seen", "seen__us")
    assert {note.subject for note in layout.notes if "is called" in note.text} == {
        "column _id",
        "column $a.b",
    }


def test_a_validator_names_every_field_and_no_other(layout: CollectionsLayout) -> None:
    member = schema(layout, "Member")
    assert member["required"] == layout.shapes["Member"].names()
    assert list(member["properties"]) == member["required"]
    assert member["additionalProperties"] is False
    assert member["properties"]["_id"] == {
        "bsonType": "object",
        "required": ["club", "no"],
        "additionalProperties": False,
        "properties": {"club": {"bsonType": "string"}, "no": {"bsonType": "int"}},
    }
    friend = member["properties"]["friend_club_friend_no_region"]
    assert friend["bsonType"] == ["string", "null"]


def test_each_collection_allows_its_region_alone(layout: CollectionsLayout) -> None:
    for one in layout.regional["visit"].collections():
        properties = one.validator["$jsonSchema"]["properties"]
        assert properties["home_region"] == {"enum": [one.region]}


def test_comments_stand_in_the_validator(layout: CollectionsLayout) -> None:
    kind = schema(layout, "Kind $1")
    assert kind["title"] == "Kinds"
    assert kind["properties"]["_id"] == {"bsonType": "string", "description": "Short"}


def test_the_link_has_the_roots_key(layout: CollectionsLayout) -> None:
    properties = layout.link.validator["$jsonSchema"]["properties"]
    assert properties["_id"] == schema(layout, "Member")["properties"]["_id"]
    assert properties["epoch"] == {"bsonType": "long"}
    assert "home_region" in properties


def test_a_nullable_unique_is_partial(layout: CollectionsLayout) -> None:
    nick = index(layout, "Member", "member_nick")
    assert nick.unique
    assert nick.partial == {"nick": {"$gte": ""}}
    since = index(layout, "Kind $1", "kind_from")
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert since.partial == {"$or": [{"from": {"$gte": first}}, {"from": {"$lt": first}}]}


def test_foreign_keys_have_indexes(layout: CollectionsLayout) -> None:
    assert index(layout, "Member", "friend_club_friend_no_idx").paths == (
        "friend_club",
        "friend_no",
    )
    assert index(layout, "visit", "club_no_idx").paths == ("_id.club", "_id.no")
    assert index(layout, "log", "club_no_idx").paths == ("club", "no")


def test_a_timestamp_in_an_index_includes_its_microseconds(layout: CollectionsLayout) -> None:
    assert index(layout, "visit", "visit_down").keys == (
        ("_id.at", -1),
        ("_id.at_us", -1),
        ("paid", -1),
    )


def test_what_changes_is_said(layout: CollectionsLayout) -> None:
    said = {(note.table, note.subject): note.kind.value for note in layout.notes}
    assert said["visit", "index visit_paid"] == "changed"
    assert said["visit", "index visit_lower"] == "left behind"
    assert said["visit", "index visit_tags"] == "left behind"
    assert said["visit", "index visit_both"] == "left behind"
    assert said["visit", "column ip"] == "left behind"
    assert said["visit", "column twice"] == "left behind"
    assert said["Member", "check positive"] == "left behind"
    assert said["log", "no primary key"] == "changed"
    assert said["Member", "unique member_nick"] == "changed"
    assert ("visit", "column ip") in {
        (note.table, note.subject) for note in layout.notes if "text form" in note.text
    }
    assert {one.name for one in layout.regional["visit"].indexes} == {
        "visit_paid",
        "visit_down",
        "club_no_idx",
    }


def test_a_document_without_key_is_identified_by_its_content(layout: CollectionsLayout) -> None:
    shape = layout.shapes["log"]
    encoded = {"club": ("a",), "no": (None,), "line": ("b",)}
    document = shape.document(encoded, region="n", ordinal=1)
    assert document == {
        "_id": {"digest": row_digest(["a", None, "b"]), "ordinal": 1},
        "home_region": "n",
        "club": "a",
        "no": None,
        "line": "b",
    }
    assert shape.canonical(document) == ["a", None, "b"]


def test_a_document_keeps_the_order_of_its_fields(layout: CollectionsLayout) -> None:
    shape = layout.shapes["Member"]
    encoded = {field.column: (None,) * len(field.names) for field in shape.columns} | {
        "club": ("c",),
        "no": (1,),
        "_id": ("x",),
    }
    regions = {reference.reference: "s" for reference in shape.references}
    document = shape.document(encoded, region="n", reference_regions=regions)
    assert list(document) == shape.names()
    assert list(document["_id"]) == ["club", "no"]
    assert shape.canonical(document)[:3] == ["c", "1", "x"]


def test_a_key_collection_holds_the_key_as_its_id(layout: CollectionsLayout) -> None:
    key = layout.keys["Member", "member_nick"]
    assert key.collection.validator["$jsonSchema"]["properties"] == {"_id": {"bsonType": "string"}}
    assert key.shape.value({"nick": ("x",)}) == "x"
    assert key.shape.value({"nick": (None,)}) is None


def test_the_digest_depends_on_the_model_alone(layout: CollectionsLayout) -> None:
    assert spelled(household(), "Member").digest() == layout.digest()
    metadata = household()
    metadata.tables["log"].append_column(Column("more", Boolean))
    assert spelled(metadata, "Member").digest() != layout.digest()


def person(*parts: Any) -> MetaData:
    metadata = MetaData()
    Table("person", metadata, Column("id", BigInteger, Identity(), primary_key=True), *parts)
    return metadata


def test_a_single_key_is_the_id_itself() -> None:
    layout = spelled(person(Column("n", Text)), "person")
    shape = layout.shapes["person"]
    document = shape.document({"id": (Int64(1),), "n": (None,)}, region="n")
    assert document == {"_id": 1, "region": "n", "n": None}
    assert layout.regional["person"].indexes == ()


def test_a_timestamp_key_is_a_subdocument() -> None:
    metadata = MetaData()
    Table("t", metadata, Column("at", DateTime(timezone=True), primary_key=True))
    shape = spelled(metadata, "t").shapes["t"]
    assert shape.names() == ["_id", "region"]
    assert shape.key is not None
    assert shape.key.names() == ["at", "at_us"]


@pytest.mark.parametrize("type_", [ARRAY(Text), JSONB])
def test_a_unique_over_an_array_is_kept_by_its_key_collection_alone(type_: Any) -> None:
    """An index would have one entry for each element."""
    layout = spelled(person(Column("many", type_, unique=True)), "person")
    assert layout.regional["person"].indexes == ()
    kept = layout.keys["person", "person_many_key"]
    assert kept.shape.names() == ["many"]
    assert kept.shape.value({"many": (["a", "b"],)}) == {"many": ["a", "b"]}
    (note,) = [one for one in layout.notes if one.subject == "index of unique person_many_key"]
    assert "the key collection alone keeps it" in note.text
    given_up = spelled(
        person(Column("many", type_, unique=True)),
        "person",
        unique={"person.person_many_key": "region"},
    )
    assert any("per element: it is not kept" in note.text for note in given_up.notes)


def test_a_key_without_case_stands_in_a_subdocument_that_an_index_folds() -> None:
    metadata = MetaData()
    Table("person", metadata, Column("mail", CITEXT, primary_key=True))
    layout = spelled(metadata, "person")
    assert layout.shapes["person"].paths("mail") == ("_id.mail",)
    (one,) = layout.regional["person"].indexes
    assert (one.keys, one.unique, one.collation) == ((("_id.mail", 1),), True, FOLDING)


def test_a_document_as_key_stands_in_a_subdocument() -> None:
    metadata = MetaData()
    Table("person", metadata, Column("doc", JSONB, primary_key=True))
    layout = spelled(metadata, "person")
    assert layout.shapes["person"].paths("doc") == ("_id.doc",)
    assert layout.regional["person"].indexes == ()


def partial(where: str, *columns: str) -> MetaData:
    metadata = person(
        Column("nick", Text), Column("active", Boolean), Column("gone", DateTime(timezone=True))
    )
    table = metadata.tables["person"].c
    Index(
        "u",
        *(table[column] for column in columns or ("nick",)),
        unique=True,
        postgresql_where=text(where),
    )
    return metadata


def test_a_simple_condition_becomes_a_filter() -> None:
    layout = spelled(partial("active AND (gone IS NULL)"), "person")
    wanted = [{"active": True}, {"gone": {"$type": "null"}}]
    assert index(layout, "person", "u").partial == {"$and": [*wanted, {"nick": {"$gte": ""}}]}
    assert layout.keys["person", "u"].keys.filter == {"$and": wanted}


def test_a_condition_that_says_no_more_than_the_index_is_said_once() -> None:
    layout = spelled(partial("nick IS NOT NULL"), "person")
    assert index(layout, "person", "u").partial == {"nick": {"$gte": ""}}


@pytest.mark.parametrize("where", ["length(nick) > 3", "active OR nick = 'x'", "nick <> 'x'"])
def test_a_condition_without_a_counterpart_is_left_behind_and_said(where: str) -> None:
    layout = spelled(partial(where), "person")
    assert layout.keys == {}
    assert layout.regional["person"].indexes == ()
    (note,) = [one for one in layout.notes if one.subject == "unique u"]
    assert (str(note.kind), "its uniqueness is not kept" in note.text) == ("left behind", True)
    assert where in note.text


@pytest.mark.parametrize("expression", ["lower(nick)", 'lower("nick")', "lower((nick)::text)"])
def test_a_unique_in_lower_case_folds(expression: str) -> None:
    metadata = person(Column("nick", Text))
    Index("u", metadata.tables["person"].c.id, unique=False)
    metadata.tables["person"].append_constraint(Index("v", text(expression), unique=True))
    layout = spelled(metadata, "person")
    assert index(layout, "person", "v").collation == FOLDING
    kept = layout.keys["person", "v"]
    assert (kept.keys.names, kept.collection.collation) == (("nick",), FOLDING)


def test_a_unique_over_an_expression_is_left_behind_and_said() -> None:
    metadata = person(Column("a", Text), Column("b", Text))
    metadata.tables["person"].append_constraint(Index("u", text("(a || b)"), unique=True))
    layout = spelled(metadata, "person")
    assert layout.keys == {}
    (note,) = [one for one in layout.notes if one.subject == "unique u"]
    assert "MongoDB indexes no expression ((a || b)): its uniqueness is not kept" in note.text


def test_a_collation_of_bytes_and_an_operator_class_change_nothing() -> None:
    metadata = person(Column("a", Text, nullable=False), Column("b", Text, nullable=False))
    table = metadata.tables["person"]
    table.append_constraint(
        Index("u", text('a COLLATE "C" text_pattern_ops DESC'), text("b"), unique=True)
    )
    table.append_constraint(Index("v", text('b COLLATE "de-x-icu"')))
    layout = spelled(metadata, "person")
    assert index(layout, "person", "u").keys == (("a", -1), ("b", 1))
    assert [one.name for one in layout.regional["person"].indexes] == ["u"]


def test_more_indexes_than_mongodb_allows() -> None:
    columns = [Column(f"c{number}", Integer) for number in range(70)]
    metadata = person(*columns)
    for number, column in enumerate(columns):
        Index(f"i{number:02}", column, unique=number > 60)
    layout = spelled(metadata, "person")
    kept = layout.regional["person"].indexes
    assert len(kept) == 63
    assert sum(one.unique for one in kept) == 9
    left = [note for note in layout.notes if "limit is 64 indexes" in note.text]
    assert len(left) == 70 - 63


def test_more_fields_than_an_index_can_have() -> None:
    columns = [Column(f"c{number}", DateTime, nullable=False) for number in range(20)]
    layout = spelled(person(*columns, UniqueConstraint(*columns, name="u")), "person")
    (note,) = [one for one in layout.notes if one.subject == "index u"]
    assert "40 fields, MongoDB's limit is 32: its uniqueness is not kept" in note.text


def test_a_unique_without_case_has_a_collation() -> None:
    layout = spelled(person(Column("mail", CITEXT, unique=True)), "person")
    assert index(layout, "person", "person_mail_key").collation == FOLDING
    assert layout.keys["person", "person_mail_key"].collection.collation == FOLDING


def test_nulls_that_are_not_distinct_need_no_filter() -> None:
    layout = spelled(
        person(
            Column("a", Text),
            UniqueConstraint("a", name="u", postgresql_nulls_not_distinct=True),
        ),
        "person",
        unique={"person.u": "region"},
    )
    assert index(layout, "person", "u").partial is None


def test_nulls_that_are_not_distinct_have_a_key_of_their_own() -> None:
    layout = spelled(
        person(
            Column("a", Text),
            Column("b", Integer, nullable=False),
            UniqueConstraint("a", "b", name="u", postgresql_nulls_not_distinct=True),
        ),
        "person",
    )
    kept = layout.keys["person", "u"]
    assert kept.keys.nulls
    properties = kept.collection.validator["$jsonSchema"]["properties"]["_id"]["properties"]
    assert properties["a"]["bsonType"] == ["string", "null"]
    assert index(layout, "person", "u").partial is None


def test_several_nullable_columns_and_nan() -> None:
    layout = spelled(
        person(Column("a", Numeric), Column("b", Integer), UniqueConstraint("a", "b", name="u")),
        "person",
    )
    partial = index(layout, "person", "u").partial
    assert [*partial] == ["$and"]
    either, number = partial["$and"]
    assert either["$or"][0] == {"a": {"$gte": -math.inf}}
    assert math.isnan(either["$or"][1]["a"])
    assert number == {"b": {"$gte": -math.inf}}


def test_a_unique_index_wins_over_a_plain_one_of_the_same_columns() -> None:
    metadata = person(Column("a", Text, nullable=False))
    Index("a_plain", metadata.tables["person"].c.a)
    Index("z_unique", metadata.tables["person"].c.a, unique=True)
    layout = spelled(metadata, "person")
    assert [one.name for one in layout.regional["person"].indexes] == ["z_unique"]
    assert "index a_plain" in {note.subject for note in layout.notes}


def test_a_global_table_has_no_region() -> None:
    metadata = person()
    Table("fact", metadata, Column("id", Integer, primary_key=True))
    layout = spelled(metadata, "person", {"fact": Statement(kind=Kind.shared)})
    assert list(schema(layout, "fact")["properties"]) == ["_id"]


def test_uniqueness_given_up_across_regions_is_noted() -> None:
    metadata = person(Column("a", Text), UniqueConstraint("a", name="u"))
    layout = spelled(metadata, "person", unique={"person.u": "region"})
    assert layout.keys == {}
    assert any("within a region only" in note.text for note in layout.notes)


def test_validators_use_draft_4_words_only(layout: CollectionsLayout) -> None:
    allowed = {
        "bsonType", "required", "additionalProperties", "properties", "enum", "minimum",
        "maximum", "maxLength", "pattern", "items", "anyOf", "oneOf", "title", "description",
    }  # fmt: skip

    def walk(fragment: dict[str, Any]) -> None:
        assert set(fragment) <= allowed
        for part in fragment.get("properties", {}).values():
            walk(part)
        for part in fragment.get("items", {}).get("anyOf", []):
            walk(part)

    for one in layout.collections():
        walk(one.validator["$jsonSchema"])


def test_a_unique_constraint_that_tells_more_apart_is_noted() -> None:
    metadata = MetaData()
    Table(
        "client",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("lasts", Interval, nullable=False),
        Column("rate", Numeric, nullable=False),
        Column("ip", INET, nullable=False),
        UniqueConstraint("lasts", name="by_lasts"),
        UniqueConstraint("rate", name="by_rate"),
        UniqueConstraint("ip", name="by_ip"),
    )
    placement = infer(metadata, "client")
    for as_string, wanted in (
        ((), {"unique by_lasts"}),
        (("client.rate",), {"unique by_lasts", "unique by_rate"}),
    ):
        layout = collections(decide(metadata, TOPOLOGY, placement, as_string=as_string))
        noted = {note.subject for note in layout.notes if "holds for equal" in note.text}
        assert noted == wanted


def test_large_objects_stay_where_they_are() -> None:
    metadata = MetaData()
    Table("client", metadata, Column("id", BigInteger, primary_key=True), Column("photo", OID))
    layout = spelled(metadata, "client")
    (note,) = [note for note in layout.notes if "large objects" in note.text]
    assert (note.subject, note.kind.value) == ("column photo", "left behind")
    assert schema(layout, "client")["properties"]["photo"]["bsonType"] == ["string", "null"]


def test_a_column_as_string() -> None:
    metadata = MetaData()
    Table(
        "client",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("seen", DateTime(timezone=True)),
        Column("seen_us", Integer),
        Column("rates", ARRAY(Numeric), comment="per year"),
        Index("by_rates", "rates"),
    )
    placement = infer(metadata, "client")
    plain = collections(decide(metadata, TOPOLOGY, placement))
    named = ("client.seen", "client.rates")
    layout = collections(decide(metadata, TOPOLOGY, placement, as_string=named))
    properties = schema(layout, "client")["properties"]
    assert list(properties) == ["_id", "region", "seen", "seen_us", "rates"]
    assert properties["seen"] == {
        "bsonType": ["string", "null"],
        "description": "text form of PostgreSQL type timestamp with time zone",
    }
    assert properties["rates"] == {
        "bsonType": ["string", "null"],
        "description": "per year (text form of PostgreSQL type numeric[])",
    }
    assert plain.digest() != layout.digest()
    noted = {note.subject for note in layout.notes if "text form" in note.text}
    assert noted == {"column seen", "column rates"}


def test_a_key_as_string_is_a_string_in_the_link_too() -> None:
    metadata = MetaData()
    Table("client", metadata, Column("id", Numeric, primary_key=True))
    Table(
        "account",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("client_id", Numeric, ForeignKey("client.id"), nullable=False),
    )
    named = ("client.id", "account.client_id")
    layout = collections(decide(metadata, TOPOLOGY, infer(metadata, "client"), as_string=named))
    for properties, field in (
        (layout.link.validator["$jsonSchema"]["properties"], "_id"),
        (schema(layout, "client")["properties"], "_id"),
        (schema(layout, "account")["properties"], "client_id"),
    ):
        assert properties[field]["bsonType"] == "string"
