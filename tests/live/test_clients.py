"""Clients are found and moved: with all of their rows, proven, or not at all."""

from __future__ import annotations

import io
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from bson import json_util
from bson.int64 import Int64
from pymongo import MongoClient, errors

from tests.live.club import AWAY, CLIENT, HOME, KEY, ROWS, club
from tests.live.journey import JOURNAL, Journey, contents, execute, query
from tests.live.shop import shop, started, wait_for
from toolkit.cli import backends
from toolkit.migrate import moving
from toolkit.mongo import bigmove, clientdocs
from toolkit.mongo import clients as mongo_clients

BACKENDS = ("postgres", "mongo")

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

#: The key of nobody, whose values must not be in any message.
NOBODY = "secret-tenant,77123"


@pytest.fixture(scope="module")
def journey(
    postgres_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Journey]:
    with club(postgres_url, mongo_url, tmp_path_factory.mktemp("club")) as journey:
        yield journey


@pytest.fixture
def documents(journey: Journey) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](journey.mongo, w="majority") as client:
        yield client[journey.mongo_database]


def everything(journey: Journey, backend: str) -> Any:
    """Return what a layout holds; the links' counters do not count."""
    if backend == "postgres":
        return contents(journey.postgres, journey.schema)
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        database = client[journey.mongo_database]
        return {
            name: sorted(
                json_util.dumps({**one, "epoch": 0}, sort_keys=True)
                for one in database[name].find()
            )
            for name in database.list_collection_names(filter={"type": "collection"})
        }


def regions(journey: Journey, backend: str) -> dict[tuple[str, ...], str]:
    """Return the region of every client."""
    with backends.clients(journey.project, backend).open() as mover:  # type: ignore[arg-type]
        return {key: code for code in mover.regions() for key in mover.residents(code)}


@contextmanager
def unchanged(journey: Journey, *names: str) -> Iterator[None]:
    """Fail where the block has changed anything of a layout."""
    before = {name: everything(journey, name) for name in names or BACKENDS}
    yield
    for name, content in before.items():
        assert everything(journey, name) == content


# Finding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [list(KEY), [CLIENT], ['["a,b", 1]']])
def test_a_client_is_found_with_what_it_has(journey: Journey, given: list[str]) -> None:
    with unchanged(journey):
        result = journey.done("client", "where", *given, "--output", "json")
    postgres, mongo = result.document["results"]
    assert postgres["key"] == ["a,b", "1"]
    assert (postgres["region"], postgres["moving_to"]) == (HOME, None)
    assert postgres["rows"] == ROWS
    # Both backends say the same of everything.
    assert {**postgres, "backend": ""} == {**mongo, "backend": ""}
    told = {(one["table"], one["region"]): one["rows"] for one in postgres["references_to"]}
    # Every account pays 1011, which pays the second account of everybody; one global row.
    assert told == {
        ("transfer", "eu"): 16,
        ("transfer", "gl"): 16,
        ("transfer", "na"): 16 + 1,
        ("featured", ""): 1,
    }


def test_where_is_told_to_people(journey: Journey) -> None:
    result = journey.done("client", "where", *KEY, "--backend", "postgres")
    assert f"lives in {HOME}" in result.out
    assert "of transfer lead by payee to account of it, from eu" in result.out


@pytest.mark.parametrize("command", [["where"], ["move", "--to", AWAY]])
def test_an_unknown_client_is_refused_and_never_named(journey: Journey, command: list[str]) -> None:
    for key in (NOBODY, "secret-tenant,secret", "secret\0,1"):
        with unchanged(journey):
            result = journey.run("client", command[0], key, *command[1:])
        assert result.code == 9
        assert "next: " in result.err
        assert "secret" not in result.out + result.err
        assert "77123" not in result.out + result.err


# Moving ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_moves_with_everything_and_back(journey: Journey, backend: str) -> None:
    before = everything(journey, backend)
    options = ("--backend", backend, "--output", "json")
    with unchanged(journey, backend):
        forecast = journey.done("client", "move", CLIENT, "--to", AWAY, "--dry-run", *options)
    moved = journey.done("client", "move", CLIENT, "--to", AWAY, *options)
    (planned,), (done,) = forecast.document["results"], moved.document["results"]
    assert planned["rows"] == done["rows"] == ROWS
    assert planned["references"] == done["references"] == 50
    assert done["from"] == {HOME: 1}
    assert done["transactions"] == 1
    where = journey.done("client", "where", *KEY, *options).document["results"][0]
    assert (where["region"], where["rows"]) == (AWAY, ROWS)
    # What refers to it elsewhere says so, in global tables too, and nothing is left behind.
    audits = backends.target(journey.project, backend).audits(frozenset())  # type: ignore[arg-type]
    assert [str(finding) for audit in audits for finding in audit()] == []
    journey.done("client", "move", CLIENT, "--to", HOME, *options)
    assert everything(journey, backend) == before


def test_both_layouts_are_equal_to_the_source_after_moves_back(journey: Journey) -> None:
    journey.done("client", "move", CLIENT, "--to", "eu", "-q")
    assert journey.run("verify", "-q").code == 5
    journey.done("client", "move", CLIENT, "--to", HOME, "-q")
    journey.done("verify", "-q")


def test_one_that_is_there_already_is_refused(journey: Journey) -> None:
    with unchanged(journey):
        result = journey.run("client", "move", CLIENT, "--to", HOME)
    assert result.code == 9
    assert "already" in result.err


def test_an_unknown_region_is_refused(journey: Journey) -> None:
    with unchanged(journey):
        result = journey.run("client", "move", CLIENT, "--to", "mars")
    assert result.code == 2
    assert "eu, gl, na" in result.err


@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_is_moved_where_one_of_the_list_is_unknown(
    journey: Journey, tmp_path: Path, backend: str
) -> None:
    keys = tmp_path / "keys.csv"
    keys.write_text(f'"a,b",2\n{NOBODY}\n"a,b",3\n')
    with unchanged(journey):
        result = journey.run(
            "client", "move", "--file", str(keys), "--to", "eu", "--backend", backend
        )
    assert result.code == 9
    assert "number 2" in result.err
    assert "secret" not in result.err


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_list_goes_on_and_comes_to_an_end(journey: Journey, tmp_path: Path, backend: str) -> None:
    keys, options = tmp_path / "keys.csv", ("--backend", backend, "--output", "json")
    # Twice the same client, in two spellings; an empty line; one that lives there; JSON.
    keys.write_text('"a,b",2\n\n"a,b",002\nit\'s,1\n["a,b", 3]\n')
    was = regions(journey, backend)
    result = journey.done("client", "move", "--file", str(keys), "--to", "eu", *options)
    (moves,) = result.document["results"]
    assert (moves["asked"], moves["moved"], moves["already"], moves["left"]) == (3, 2, 1, 0)
    again = journey.done("client", "move", "--file", str(keys), "--to", "eu", *options)
    assert again.document["results"][0]["already"] == 3
    for key in (("a,b", "2"), ("it's", "1")):
        one = f'["{key[0]}", {key[1]}]'
        journey.done("client", "move", one, "--to", was[key], "--backend", backend)
    assert regions(journey, backend) == was


def test_keys_come_from_stdin(journey: Journey) -> None:
    with patch.object(sys, "stdin", io.StringIO(f"{CLIENT}\n")):
        result = journey.done(
            "client", "move", "--file", "-", "--to", HOME, "--backend", "postgres"
        )
    assert "1 client(s) were there already" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a,b,1"], "2 columns"),
        ([], "no client is named"),
        ([CLIENT, "--file", "x"], "one of the two"),
        (["--file", "/nowhere"], "cannot be read"),
        ([CLIENT, "--rate", "quick"], "no rate"),
    ],
)
def test_bad_input_is_a_usage_error(journey: Journey, arguments: list[str], said: str) -> None:
    result = journey.run("client", "move", *arguments, "--to", "eu")
    assert result.code == 2
    assert said in result.err


# Others at work ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_command_moves_at_a_time(journey: Journey, backend: str) -> None:
    clients = backends.clients(journey.project, backend)  # type: ignore[arg-type]
    move = ("client", "move", CLIENT, "--backend", backend, "-q", "--to")
    with clients.alone(0), unchanged(journey):
        result = journey.run(*move, AWAY, "--wait", "0")
    assert result.code == 8
    held, freed = threading.Event(), threading.Event()

    def hold() -> None:
        with clients.alone(0):
            held.set()
            freed.wait(0.5)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    journey.done(*move, AWAY, "--wait", "10")
    thread.join()
    journey.done(*move, HOME)


def test_a_client_that_others_hold_is_left_and_the_rest_move(journey: Journey) -> None:
    """PostgreSQL: a session that holds the link for longer than all attempts together."""
    move = ("client", "move", CLIENT, "it's,4", "--backend", "postgres", "-q", "--output", "json")
    was = regions(journey, "postgres")
    with (
        psycopg.connect(journey.postgres) as other,
        patch.object(moving, "_ATTEMPTS", 2),
    ):
        other.execute(
            f"SELECT FROM {journey.schema}.client_region WHERE client_id = 1 FOR KEY SHARE"
        )
        result = journey.run(*move, "--to", AWAY)
        assert result.code == 8
        assert "number 1" in result.err
        (moves,) = result.document["results"]
        assert (moves["moved"], moves["busy"]) == (1, 1)
        other.rollback()
    journey.done(*move, "--to", AWAY)
    journey.done("client", "move", CLIENT, "--to", HOME, "--backend", "postgres", "-q")
    journey.done("client", "move", "it's,4", "--to", was["it's", "4"], "--backend", "postgres")


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_finishes_a_client_and_the_rest_can_follow(
    journey: Journey, tmp_path: Path, backend: str
) -> None:
    keys = tmp_path / "keys.csv"
    was = regions(journey, backend)
    keys.write_text("".join(f'["{tenant}", {number}]\n' for tenant, number in was))
    move = ("client", "move", "--file", str(keys), "--backend", backend, "--to", AWAY)
    there = sum(region == AWAY for region in was.values())

    def away() -> int:
        return sum(region == AWAY for region in regions(journey, backend).values())

    with started(journey, *move, "--rate", "4/s") as process:
        wait_for(process, lambda: away() > there + 1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "run the same command again" in err
    assert there < away() < len(was)
    journey.done(*move, "-q")
    assert away() == len(was)
    for code in ("eu", "na"):
        keys.write_text(
            "".join(f'["{key[0]}", {key[1]}]\n' for key, region in was.items() if region == code)
        )
        journey.done("client", "move", "--file", str(keys), "--backend", backend, "--to", code)
    assert regions(journey, backend) == was


# What a proof is worth ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "body", "said"),
    [
        ("BEFORE UPDATE ON payment", "RETURN NULL", "payment: 6 row(s) in 'na' before, 0 in 'gl'"),
        (
            "BEFORE INSERT ON payment",
            "new.amount := new.amount + 1; RETURN new",
            "payment: 6 row(s), not the same",
        ),
        (
            "BEFORE UPDATE ON transfer",
            "IF new.payee_region IS DISTINCT FROM old.payee_region THEN RETURN old; END IF; "
            "RETURN new",
            "still name the old region",
        ),
        (
            "AFTER INSERT ON payment",
            "UPDATE club_regional.account SET balance = 0 WHERE id = new.account_id; RETURN NULL",
            "account: 2 row(s), not the same",
        ),
    ],
)
def test_a_trigger_that_is_not_silent_is_found_and_undone(
    journey: Journey, event: str, body: str, said: str
) -> None:
    table = event.split()[-1]
    execute(
        journey.postgres,
        f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$",
        f"CREATE TRIGGER meddle {event} FOR EACH ROW EXECUTE FUNCTION meddle()",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER meddle",
        schema=journey.schema,
    )
    try:
        with unchanged(journey):
            result = journey.run(
                "client", "move", CLIENT, "--to", AWAY, "--backend", "postgres", "-q"
            )
        assert result.code == 5, result.err
        assert said in result.err
    finally:
        execute(
            journey.postgres,
            f"DROP TRIGGER meddle ON {table}",
            "DROP FUNCTION meddle()",
            schema=journey.schema,
        )


@pytest.mark.parametrize("most", [10_000, 5])
def test_a_document_that_changes_on_the_way_is_found_and_undone(
    journey: Journey, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """In one transaction, and in batches."""
    real = mongo_clients.relocated

    def changing(document: bytes, fields: Any) -> bytes:
        return real(document, {**fields, "said": "something else"})

    for module in (mongo_clients, bigmove):
        monkeypatch.setattr(module, "relocated", changing)
    monkeypatch.setattr(mongo_clients, "MOST_DOCUMENTS", most)
    with unchanged(journey):
        result = journey.run("client", "move", CLIENT, "--to", AWAY, "--backend", "mongo", "-q")
    assert result.code == 5, result.err
    assert "remark: 2 document(s), not the same" in result.err


# PostgreSQL: how it is done ----------------------------------------------------------------------


def test_the_generated_foreign_keys_are_deferred_and_nothing_else(journey: Journey) -> None:
    with backends.clients(journey.project, "postgres").open() as mover:
        statement = mover._deferring  # type: ignore[attr-defined]
    assert "account_tenant_client_id_fkey" in statement
    assert "client_client_region_fkey" in statement
    # The source's own deferrable key keeps its time.
    assert "account_place" not in statement
    assert statement != "SET CONSTRAINTS ALL DEFERRED"


def test_the_journal_holds_no_key(journey: Journey) -> None:
    journey.done("client", "move", CLIENT, "--to", AWAY, "-q")
    journey.done("client", "move", CLIENT, "--to", HOME, "-q")
    rows = query(
        journey.postgres,
        "SELECT origin, region, rows, client_move::text FROM regionkit.client_move "
        "ORDER BY moved_at DESC LIMIT 2",
    )
    assert [row[:3] for row in rows] == [(AWAY, HOME, 38), (HOME, AWAY, 38)]
    assert "a,b" not in str(rows)
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        found = list(
            client[JOURNAL]["client_moves"]
            .find({"target": journey.mongo_database})
            .sort("_id", -1)
            .limit(2)
        )
    assert [(one["origin"], one["region"], one["rows"]) for one in found] == [
        (AWAY, HOME, 38),
        (HOME, AWAY, 38),
    ]
    assert "a,b" not in str(found)


# MongoDB: too large for one transaction ----------------------------------------------------------


class _Killed(Exception):
    """What happens to a process that is killed, as far as the servers see it."""


@contextmanager
def _killed_after(transactions: int) -> Iterator[list[int]]:
    """Let the batches of a move stop after so many transactions; yield how many there were."""
    done = [0]
    real = bigmove.transact

    def transact(*arguments: Any) -> Any:
        if done[0] >= transactions:
            raise _Killed
        done[0] += 1
        return real(*arguments)

    with patch.object(bigmove, "transact", transact):
        yield done


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a few documents."""
    monkeypatch.setattr(mongo_clients, "MOST_DOCUMENTS", 5)
    monkeypatch.setattr(clientdocs, "BATCH", 4)
    monkeypatch.setattr(bigmove, "_AT_ONCE", 4)


@pytest.mark.usefixtures("small")
def test_a_move_in_batches_goes_on_after_any_stop(journey: Journey, documents: Any) -> None:
    clients, link = backends.clients(journey.project, "mongo"), {"_id": {"tenant": "a,b", "id": 1}}
    before = everything(journey, "mongo")
    with _killed_after(10_000) as done:
        moving.move(clients, [KEY], AWAY)
    after, total = everything(journey, "mongo"), done[0]
    assert total > 20
    stages = set()
    for number in range(0, total, 3):
        moving.move(clients, [KEY], HOME)
        assert everything(journey, "mongo") == before
        with pytest.raises(_Killed), _killed_after(number):
            moving.move(clients, [KEY], AWAY)
        half = documents["client_region"].find_one(link)
        stages.add(half["moving"]["stage"])
        # A writer begins at the link, and is told; it need not know of moves.
        with pytest.raises(errors.OperationFailure) as refused:
            documents["client_region"].find_one_and_update(link, {"$inc": {"epoch": Int64(1)}})
        assert refused.value.code == 121
        # Reads by the link find every document, whatever the stage.
        found = moving.where(clients, KEY)
        assert found.rows == ROWS
        assert found.residence.moving_to == AWAY
        if number == 0:
            elsewhere = journey.run("client", "move", CLIENT, "--to", "eu", "--backend", "mongo")
            assert elsewhere.code == 9
            told = journey.done("client", "where", CLIENT, "--backend", "mongo")
            assert "--to gl" in told.out
        assert moving.move(clients, [KEY], AWAY).clients == 1
        assert everything(journey, "mongo") == after
    assert stages == {"copying", "deleting"}
    moving.move(clients, [KEY], HOME)
    assert everything(journey, "mongo") == before
    assert type(documents["client_region"].find_one(link)["epoch"]) is Int64


@pytest.mark.usefixtures("small")
def test_a_run_that_was_overtaken_writes_nothing_more(journey: Journey) -> None:
    clients = backends.clients(journey.project, "mongo")
    with unchanged(journey, "mongo"):
        with pytest.raises(_Killed), _killed_after(5):
            moving.move(clients, [KEY], AWAY)
        real, overtaken = bigmove.transact, []

        def transact(*arguments: Any) -> Any:
            if not overtaken:
                overtaken.append(True)
                with patch.object(bigmove, "transact", real), clients.open() as other:
                    (residence,) = other.residences([KEY])
                    assert residence is not None
                    other.move(residence, AWAY, moving.Note("", "", ""))
            return real(*arguments)

        with patch.object(bigmove, "transact", transact):
            result = journey.run("client", "move", CLIENT, "--to", AWAY, "--backend", "mongo", "-q")
        assert result.code == 8, result.err
        assert moving.where(clients, KEY).residence.region == AWAY
        moving.move(clients, [KEY], HOME)


# Killed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_kill_9_in_the_middle_leaves_every_client_whole(
    journey: Journey, tmp_path: Path, backend: str
) -> None:
    was = regions(journey, backend)
    keys = tmp_path / "keys.csv"
    keys.write_text("".join(f'["{tenant}", {number}]\n' for tenant, number in was))
    move = ("client", "move", "--file", str(keys), "--backend", backend, "-q", "--to", "eu")
    there = sum(region == "eu" for region in was.values())

    def here() -> int:
        return sum(region == "eu" for region in regions(journey, backend).values())

    with started(journey, *move, "--rate", "20") as process:
        wait_for(process, lambda: here() > there + 1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    audits = backends.target(journey.project, backend).audits(frozenset())  # type: ignore[arg-type]
    deadline = time.monotonic() + 30
    while True:
        try:
            assert [str(finding) for audit in audits for finding in audit()] == []
            break
        except AssertionError:
            # The server may still be at the last statement of the dead.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    # A dead holder of MongoDB's lock keeps it for its lease: here it ends at once.
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        client[JOURNAL]["locks"].update_one(
            {"_id": f"move clients of {journey.mongo_database}"}, {"$set": {"until": _LONG_AGO}}
        )
    journey.done(*move)
    assert here() == len(was)
    for code in ("gl", "na"):
        keys.write_text(
            "".join(f'["{key[0]}", {key[1]}]\n' for key, region in was.items() if region == code)
        )
        journey.done("client", "move", "--file", str(keys), "--backend", backend, "--to", code)
    assert regions(journey, backend) == was


# After a cutover ---------------------------------------------------------------------------------


def test_clients_move_in_a_schema_that_a_cutover_has_renamed(
    postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    with shop(postgres_url, mongo_url, tmp_path / "shop", "postgres") as journey:
        options = ("--backend", "postgres", "-q")
        unfinished = journey.run("client", "move", "2", "--to", "na", *options)
        assert unfinished.code == 9
        journey.done("migrate", *options)
        journey.done("cutover", "--yes", *options)
        journey = replace(journey)
        journey.done("client", "move", "2", "--to", "na", *options)
        rows = query(
            journey.postgres, "SELECT count(*), min(region) FROM shop.sale_na WHERE client_id = 2"
        )
        assert rows == [(6, "na")]
        where = journey.done("client", "where", "2", "--backend", "postgres", "--output", "json")
        assert where.document["results"][0]["rows"] == {"client": 1, "sale": 6}
