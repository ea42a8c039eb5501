"""Migrations on a real MongoDB: applied once, by one, and what they promise holds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, WriteError
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import CITEXT

from toolkit.errors import ConnectionFailed, LockNotObtained, Refused, RegionkitError
from toolkit.layout import decide
from toolkit.mongo.ddl import CreateCollection, CreateRegion, CreateView, DropView
from toolkit.mongo.indexes import CollectionIndex
from toolkit.mongo.inspect import catalogue
from toolkit.mongo.layout import CollectionsLayout, collections, of_region
from toolkit.mongo.lock import JOURNAL, Lock
from toolkit.mongo.operations import executing
from toolkit.mongo.revisions import generate, load_revision
from toolkit.mongo.runner import Runner
from toolkit.mongo.session import (
    MongoSession,
    connect,
    require_transactions,
    topology_facts,
    translated,
)
from toolkit.placement import infer
from toolkit.topology import Region, Topology

NAME = "regionkit_test_revisions"


def model() -> MetaData:
    metadata = MetaData()
    Table("Tariff $", metadata, Column("code", Text, primary_key=True), Column("per.day", Numeric))
    Table(
        "member",
        metadata,
        Column("club", Text, primary_key=True),
        Column("no", Integer, primary_key=True, autoincrement=False),
        Column("mail", CITEXT, unique=True),
        Column("token", Uuid, unique=True),
        Column("since", Date),
        Column("score", Numeric),
        Column("tariff", Text, ForeignKey("Tariff $.code")),
        UniqueConstraint("since", "score", name="since_score"),
    )
    Table(
        "visit",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("club", Text, nullable=False),
        Column("no", Integer, nullable=False),
        Column("at", DateTime(timezone=True), unique=True),
        ForeignKeyConstraint(["club", "no"], ["member.club", "member.no"]),
    )
    Table(
        "note",
        metadata,
        Column("club", Text),
        Column("no", Integer),
        Column("line", Text),
        ForeignKeyConstraint(["club", "no"], ["member.club", "member.no"]),
    )
    return metadata


def spelled() -> tuple[Any, CollectionsLayout]:
    topology = Topology((Region("n"), Region("s")))
    layout = decide(model(), topology, infer(model(), "member"))
    return layout, collections(layout)


@pytest.fixture(scope="module")
def session(mongo_url: str) -> Iterator[MongoSession]:
    with connect(mongo_url) as opened:
        yield opened


@pytest.fixture
def database(session: MongoSession) -> Iterator[Database[dict[str, Any]]]:
    session.client.drop_database(NAME)
    session.database(JOURNAL)["revisions"].delete_many({"_id.database": NAME})
    session.database(JOURNAL)["locks"].delete_many({"_id": NAME})
    yield session.database(NAME)
    session.client.drop_database(NAME)
    session.database(JOURNAL)["revisions"].delete_many({"_id.database": NAME})
    session.database(JOURNAL)["locks"].delete_many({"_id": NAME})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate(spelled()[0], tmp_path)
    return tmp_path


@pytest.fixture
def runner(session: MongoSession, database: Database[dict[str, Any]], folder: Path) -> Runner:
    return Runner(session, NAME, folder)


@pytest.fixture
def applied(runner: Runner, database: Database[dict[str, Any]]) -> Database[dict[str, Any]]:
    runner.upgrade()
    return database


def member(no: int, region: str = "n", **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("mail", "token", "since", "score", "tariff"))
    return {"_id": {"club": "c", "no": no}, "region": region, **empty, **fields}


def everything(session: MongoSession) -> dict[str, Any]:
    """Return all that a dry run could have changed."""
    names = [name for name in session.client.list_database_names() if name != "local"]
    return {
        "databases": names,
        "catalogue": catalogue(session.database(NAME)),
        "journal": [
            list(session.database(JOURNAL)[name].find({"_id.database": NAME}))
            for name in ("revisions", "locks")
        ],
    }


def test_what_is_applied_is_what_the_layout_says(applied: Database[dict[str, Any]]) -> None:
    _, wanted = spelled()
    found = catalogue(applied)
    assert set(found["collections"]) == {one.name for one in wanted.collections()}
    for one in wanted.collections():
        options = found["collections"][one.name]["options"]
        assert options["validator"] == one.validator
        assert set(found["collections"][one.name]["indexes"]) == {i.name for i in one.indexes}
    assert found["views"] == {
        view.name: {
            "on": view.names[0],
            "pipeline": [{"$unionWith": name} for name in view.names[1:]],
        }
        for view in wanted.views
    }
    assert sorted(applied["region"].distinct("_id")) == ["n", "s"]


def test_applying_again_changes_nothing(
    session: MongoSession, runner: Runner, applied: Database[dict[str, Any]]
) -> None:
    before = everything(session)
    assert runner.pending() == ()
    assert runner.plan() == ()
    assert runner.upgrade() == ()
    assert everything(session) == before


def test_a_plan_writes_nothing(session: MongoSession, runner: Runner) -> None:
    before = everything(session)
    (plan,) = runner.plan()
    assert plan.revision == "0001"
    assert {step.server for step in plan.steps} == {"mongo"}
    assert everything(session) == before
    seen: list[Any] = []
    runner.upgrade(on_step=seen.append)
    assert tuple(seen) == plan.steps


def test_a_document_must_be_of_its_region_and_shape(applied: Database[dict[str, Any]]) -> None:
    members = applied["member_n"]
    members.insert_one(member(1))
    wrong: list[dict[str, Any]] = [
        member(2, region="s"),
        member(2, extra=1),
        {key: value for key, value in member(2).items() if key != "mail"},
        {**member(2), "_id": {"club": "c"}},
        {**member(2), "_id": {"club": "c", "no": Int64(2)}},
        member(2, score=1.5),
        member(2, since="2024-01-01"),
        member(2, mail=7),
    ]
    for document in wrong:
        with pytest.raises(WriteError):
            members.insert_one(document)
    assert members.count_documents({}) == 1


def test_nulls_repeat_and_values_do_not(applied: Database[dict[str, Any]]) -> None:
    members = applied["member_n"]
    year_1 = datetime(1, 1, 1, tzinfo=UTC)
    members.insert_many([member(1), member(2)])
    long_ago = DatetimeMS(-(10**14))
    some: list[dict[str, Any]] = [
        {"mail": ""},
        {"since": long_ago, "score": Decimal128("NaN")},
        {"since": year_1, "score": Decimal128("-Infinity")},
        {"since": datetime(2024, 1, 1, tzinfo=UTC), "score": Decimal128("1.50")},
    ]
    for number, fields in enumerate(some):
        members.insert_one(member(10 + number, **fields))
        with pytest.raises(DuplicateKeyError):
            members.insert_one(member(20 + number, **fields))
    members.insert_one(member(30, since=long_ago))
    members.insert_one(member(31, since=long_ago))
    members.insert_one(member(40, mail="A@x"))
    with pytest.raises(DuplicateKeyError):
        members.insert_one(member(41, mail="a@X"))
    keys = applied[spelled()[1].keys["member", "member_mail_key"].collection.name]
    keys.insert_one({"_id": "A@x"})
    with pytest.raises(DuplicateKeyError):
        keys.insert_one({"_id": "a@X"})


def test_equality_uses_the_partial_indexes(applied: Database[dict[str, Any]]) -> None:
    for name, query, index in [
        ("member_n", {"token": bytes(1)}, "member_token_key"),
        ("member_n", {"since": DatetimeMS(-(10**14)), "score": 5}, "since_score"),
        ("member_n", {"since": datetime(2024, 1, 1), "score": Decimal128("NaN")}, "since_score"),
        ("visit_s", {"at": datetime(2024, 1, 1), "at_us": 5}, "visit_at_key"),
        ("visit_s", {"club": "c", "no": 1}, "club_no_idx"),
    ]:
        plan = applied[name].find(query).explain()["queryPlanner"]["winningPlan"]
        assert f"'{index}'" in str(plan), (query, plan)


def test_ordinary_clients_can_read_the_indexes(
    mongo_url: str, applied: Database[dict[str, Any]]
) -> None:
    # A bound beyond Python's years would make PyMongo's default client fail here.
    from pymongo import MongoClient

    with MongoClient[Any](mongo_url) as client:
        assert len(list(client[NAME]["member_n"].list_indexes())) == 5


def test_the_view_unites_the_regions(applied: Database[dict[str, Any]]) -> None:
    applied["member_n"].insert_one(member(1))
    applied["member_s"].insert_one(member(2, region="s"))
    assert applied["member"].count_documents({}) == 2


def test_foreign_data_is_refused_by_name(
    session: MongoSession, runner: Runner, database: Database[dict[str, Any]]
) -> None:
    database["theirs"].insert_one({})
    before = everything(session)
    with pytest.raises(Refused) as caught:
        runner.plan()
    assert caught.value.details == ("theirs",)
    with pytest.raises(Refused):
        runner.upgrade()
    assert everything(session) == before


def test_a_collection_of_that_name_with_other_options_is_refused(
    database: Database[dict[str, Any]],
) -> None:
    schema = {"$jsonSchema": {"bsonType": "object"}}
    index = CollectionIndex("a", (("a", 1),), unique=True)
    first = CreateCollection("c", schema, (index,))
    first.apply(database)
    first.apply(database)
    for other in (
        CreateCollection("c", {"$jsonSchema": {"bsonType": "object", "required": ["a"]}}),
        CreateCollection("c", schema, (CollectionIndex("a", (("a", 1),)),)),
        CreateCollection("c", schema, (CollectionIndex("a", (("a", -1),), unique=True),)),
        CreateCollection("c", schema, (), {"locale": "en", "strength": 2}),
        CreateView("c", ("d",)),
        DropView("c"),
    ):
        with pytest.raises(Refused, match="'c' exists"):
            other.apply(database)
    CreateView("v", ("c", "d")).apply(database)
    CreateView("v", ("c", "d")).apply(database)
    for wrong in (CreateView("v", ("c",)), CreateView("v", ("d", "c")), CreateCollection("v", {})):
        with pytest.raises(Refused, match="'v' exists"):
            wrong.apply(database)


def test_a_run_that_stopped_half_way_is_finished_by_the_next(
    session: MongoSession, runner: Runner, database: Database[dict[str, Any]]
) -> None:
    class Stop(Exception):
        pass

    def stop(step: Any) -> None:
        if step.target == "visit":
            raise Stop

    with pytest.raises(Stop):
        runner.upgrade(on_step=stop)
    assert [entry.state.value for entry in runner.applied()] == ["started"]
    assert [one.revision for one in runner.pending()] == ["0001"]
    assert runner.upgrade() == ("0001",)
    once = catalogue(database)
    assert runner.downgrade() == ("0001",)
    assert runner.upgrade() == ("0001",)
    assert catalogue(database) == once


def test_a_change_of_primary_is_survived(
    session: MongoSession, runner: Runner, database: Database[dict[str, Any]]
) -> None:
    def step_down(step: Any) -> None:
        if step.target == "visit":
            session.client.admin.command({"replSetStepDown": 1, "force": True})

    assert runner.upgrade(on_step=step_down) == ("0001",)
    once = catalogue(database)
    runner.downgrade()
    runner.upgrade()
    assert catalogue(database) == once


def test_operations_can_be_done_at_once(
    database: Database[dict[str, Any]], folder: Path, runner: Runner
) -> None:
    (path,) = (folder / "versions").iterdir()
    load_revision(path).upgrade(executing(database))
    directly = catalogue(database)
    load_revision(path).downgrade(executing(database))
    runner.upgrade()
    assert catalogue(database) == directly


def test_an_edited_migration_is_refused(
    session: MongoSession, applied: Database[dict[str, Any]], folder: Path
) -> None:
    (path,) = (folder / "versions").iterdir()
    path.write_bytes(path.read_bytes().replace(b"\n", b"  \r\n"))
    assert Runner(session, NAME, folder).pending() == ()
    path.write_text(path.read_text(encoding="utf-8") + "\nmore = 1\n", encoding="utf-8")
    for act in (Runner.pending, Runner.plan, Runner.upgrade, Runner.downgrade):
        with pytest.raises(Refused, match="edited"):
            act(Runner(session, NAME, folder))


def test_a_missing_migration_is_refused(
    session: MongoSession, applied: Database[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="does not have"):
        Runner(session, NAME, tmp_path / "empty").pending()


def test_reverting_leaves_nothing_and_loses_no_data(
    session: MongoSession, runner: Runner, applied: Database[dict[str, Any]]
) -> None:
    applied["member_n"].insert_one(member(1))
    with pytest.raises(Refused) as caught:
        runner.downgrade()
    assert caught.value.details == ("member_n: 1 document(s)",)
    (plan,) = runner.plan("base")
    assert sum(step.rows or 0 for step in plan.steps) == 1
    assert runner.downgrade(drop_data=True) == ("0001",)
    assert catalogue(applied) == {"collections": {}, "views": {}}
    assert runner.applied() == ()
    assert runner.downgrade() == ()


def test_an_unknown_target_is_refused(runner: Runner) -> None:
    for act in (runner.plan, runner.upgrade, runner.downgrade):
        with pytest.raises(Refused, match="no migration '7'"):
            act("7")


def test_one_run_at_a_time(
    session: MongoSession, runner: Runner, database: Database[dict[str, Any]]
) -> None:
    with Lock(session, NAME) as held:
        with pytest.raises(LockNotObtained) as caught:
            runner.upgrade()
        assert "@" in caught.value.message
        assert "since" in caught.value.message
        assert catalogue(database)["collections"] == {}
        held.check()
    assert runner.upgrade() == ("0001",)


def test_of_many_at_once_one_wins(session: MongoSession, database: Any, folder: Path) -> None:
    barrier = threading.Barrier(6)
    results: list[Any] = []

    def run() -> None:
        runner = Runner(session, NAME, folder)
        barrier.wait()
        try:
            results.append(runner.upgrade())
        except LockNotObtained:
            results.append("locked")

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(("0001",)) == 1
    assert all(result in (("0001",), (), "locked") for result in results)


def test_a_dead_holder_loses_the_lock_and_notices(
    session: MongoSession, database: Database[dict[str, Any]]
) -> None:
    asleep = Lock(session, NAME, lease=0.3)
    asleep.acquire()
    # As if the process had been stopped: no heart beats any more.
    asleep._released.set()
    with pytest.raises(LockNotObtained):
        Lock(session, NAME, lease=0.3).acquire()
    time.sleep(0.4)
    with Lock(session, NAME, lease=5) as taken:
        assert taken.epoch == asleep.epoch + 1
        with pytest.raises(LockNotObtained, match="was lost"):
            asleep.check()
        asleep.release()
        taken.check()


def test_a_heart_keeps_the_lock(session: MongoSession, database: Any) -> None:
    with Lock(session, NAME, lease=0.3):
        time.sleep(0.8)
        with pytest.raises(LockNotObtained):
            Lock(session, NAME).acquire()


def test_a_holder_that_was_overtaken_cannot_write_the_journal(
    session: MongoSession, database: Database[dict[str, Any]], runner: Runner
) -> None:
    def overtake(step: Any) -> None:
        if step.target == "visit":
            session.database(JOURNAL)["locks"].update_one(
                {"_id": NAME}, {"$set": {"owner": "another"}, "$inc": {"epoch": 1}}
            )

    with pytest.raises(LockNotObtained, match="was lost"):
        runner.upgrade(on_step=overtake)
    assert [entry.state.value for entry in runner.applied()] == ["started"]


def test_a_region_is_added_and_dropped(applied: Database[dict[str, Any]]) -> None:
    _, layout = spelled()
    before = catalogue(applied)
    region = CreateRegion(
        region="w",
        region_list="region",
        collections=tuple(
            CreateCollection(
                f"{key}_w", of_region(part.validator, part.region_field, "w"), part.indexes
            )
            for key, part in layout.regional.items()
        ),
        views=tuple(CreateView(v.name, (*v.names, f"{v.table_key}_w")) for v in layout.views),
        views_before=tuple(CreateView(view.name, view.names) for view in layout.views),
    )
    region.apply(applied)
    region.apply(applied)
    applied["member_w"].insert_one(member(1, region="w"))
    assert applied["member"].count_documents({"region": "w"}) == 1
    assert sorted(applied["region"].distinct("_id")) == ["n", "s", "w"]
    region.reverse().apply(applied)
    region.reverse().apply(applied)
    assert catalogue(applied) == before
    assert sorted(applied["region"].distinct("_id")) == ["n", "s"]


def test_a_single_member_must_be_allowed(session: MongoSession) -> None:
    facts = topology_facts(session)
    assert facts.kind == "replica set"
    assert facts.version >= (6, 0)
    if facts.majority == 1:
        with pytest.raises(Refused) as caught:
            require_transactions(session, allow_single_member=False)
        assert "allow_single_member = true" in caught.value.hint
        assert require_transactions(session, allow_single_member=True) is False
    else:
        assert require_transactions(session, allow_single_member=False) is True


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://u:canary-pw@127.0.0.1:1/?directConnection=true",
        "mongodb://u:canary-pw@127.0.0.1:port/",
        "mongodb://u:canary-pw:x@127.0.0.1/",
        "nothing://u:canary-pw@127.0.0.1/",
        "",
    ],
)
def test_no_server_is_a_connection_error_without_password(url: str) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        connect(url, timeout=0.2)
    assert caught.value.hint
    assert "canary" not in str(caught.value) + caught.value.hint


def test_a_refused_login_is_a_connection_error(mongo_url: str) -> None:
    url = mongo_url.replace("mongodb://", "mongodb://nobody:canary-pw@")
    with pytest.raises(ConnectionFailed) as caught:
        connect(url)
    assert "canary" not in str(caught.value)


def test_no_foreign_exception_and_no_key_value_escapes(
    database: Database[dict[str, Any]],
) -> None:
    database["c"].insert_one({"_id": "canary"})
    with pytest.raises(RegionkitError) as caught, translated("insert"):
        database["c"].insert_one({"_id": "canary"})
    assert "E11000" in caught.value.message
    assert "canary" not in caught.value.message


def test_motor_serves_one_loop_after_another(session: MongoSession) -> None:
    async def ping() -> float:
        answer = await session.motor_database("admin").command("ping")
        return float(answer["ok"])

    assert asyncio.run(ping()) == 1.0
    assert asyncio.run(ping()) == 1.0
