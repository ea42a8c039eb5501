"""Takes one random schema from ``init`` to ``verify`` on both backends, and judges what it said."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from tests.live.journey import Journey, execute, mongo_database, query
from tests.live.support import database
from tests.random_schemas.generator import LANDS, Schema, Table, draw, led_to, quoted, statements
from toolkit.mongo.layout import collections
from toolkit.placement import OWNER, Kind, owner_columns


@dataclass(frozen=True)
class Outcome:
    """How one schema fared.

    Attributes:
        seed: of the schema.
        tables: how many it has.
        rows: how many it has.
        refused: the backends that refused it, each for a reason that the schema bears out.
        asked: tables for which ``init`` asked which of several owners they follow.
    """

    seed: int
    tables: int
    rows: int
    refused: tuple[str, ...]
    asked: tuple[str, ...]


def run(seed: int, postgres_url: str, mongo_url: str, folder: Path) -> Outcome:
    """Take the schema of a seed all the way; raise AssertionError where something is not right."""
    schema = draw(seed)
    with _project(schema, postgres_url, mongo_url, folder) as journey:
        asked = _initialised(schema, journey)
        journey.done("generate")
        journey.done("apply")
        refused = []
        for backend in ("postgres", "mongo"):
            if backend == "mongo" and schema.refused:
                _refused(schema, journey)
                refused.append(backend)
                continue
            journey.done("migrate", "--backend", backend)
            journey.done("verify", "--backend", backend)
        _judge(schema, journey, "mongo" not in refused)
    rows = sum(len(table.rows) for table in schema.tables)
    return Outcome(seed, len(schema.tables), rows, tuple(refused), asked)


@contextmanager
def _project(schema: Schema, postgres_url: str, mongo_url: str, folder: Path) -> Iterator[Journey]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lands.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("land", "region"), *LANDS.items()])
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        execute(url, *statements(schema))
        yield Journey(folder, url, url, mongo_url, {"RANDOM_SCHEMA_DATABASE": name})


def _initialised(schema: Schema, journey: Journey) -> tuple[str, ...]:
    """Run ``init``, and state what it may rightly ask: which of several owners rows follow."""
    result = journey.run(
        *("init", "--root", f"{schema.default}.client", "--region-by", schema.path),
        *("--map", "lands.csv", "--out", ".", "--yes", "--output", "json"),
    )
    assert result.code in (0, 9), (result.code, result.err)
    document = result.document
    asked = []
    toml = journey.folder / "regionkit.toml"
    text = toml.read_text(encoding="utf-8")
    assert (result.code == 9) == bool(document["decisions"]), result.err
    for decision in document["decisions"]:
        (table,) = [one for one in schema.tables if schema.key(one) == decision["subject"]]
        asked.append(decision["subject"])
        if schema.is_isolated(table):
            # Values that are keys of a client's rows, too: only the operator can tell.
            (choice,) = [one for one in decision["choices"] if 'kind = "global"' in one]
        elif any('kind = "global"' in one for one in decision["choices"]):
            assert _is_used_by_others(schema, table), decision
            choice = next(one for one in decision["choices"] if 'kind = "global"' not in one)
        else:
            assert _has_several_owners(schema, table), decision
            choice = decision["choices"][0]
        text = _stated(text, choice)
    name = json.dumps(journey.extra["RANDOM_SCHEMA_DATABASE"])
    text = re.sub(r'(?m)^database = ".*"$', f"database = {name}", text)
    toml.write_text(text, encoding="utf-8")
    return tuple(asked)


def _stated(text: str, lines: list[str]) -> str:
    """Put a choice into the configuration: into its section, where that is there already."""
    heading = lines[0].removeprefix("in ")
    stated = "\n".join([heading, *lines[1:]])
    if heading in text.splitlines():
        return text.replace(f"{heading}\n", f"{stated}\n", 1)
    return f"{text}\n{stated}\n"


def _has_several_owners(schema: Schema, table: Table) -> bool:
    """Return whether the rows of a table really lead to different clients by different columns."""
    ways = [one for one in table.references if schema.leads_home(one.target)]
    return any(
        len({id(client) for client in schema.clients(table, row) if client is not None}) > 1
        for row in table.rows
    ) or (len(ways) > 1 and not table.rows)


def _is_used_by_others(schema: Schema, table: Table) -> bool:
    """Return whether rows of a client refer to rows of the table that lead to another client."""
    for other in schema.tables:
        for reference in other.references:
            if reference.target is not table:
                continue
            for row in other.rows:
                led = led_to(reference, row)
                if led is None:
                    continue
                mine = {id(one) for one in schema.clients(other, row) if one is not None}
                theirs = {id(one) for one in schema.clients(table, led) if one is not None}
                if len(mine | theirs) > 1:
                    return True
    return False


def _refused(schema: Schema, journey: Journey) -> None:
    """Check that MongoDB's refusal names the one column with a value that BSON cannot hold."""
    assert schema.refused
    table, column = schema.refused
    result = journey.run("migrate", "--backend", "mongo")
    assert result.code == 9, (result.code, result.err)
    lines = [line for line in result.err.splitlines() if table in line and column in line]
    assert lines, result.err


def _judge(schema: Schema, journey: Journey, with_mongo: bool) -> None:
    """Count by the rows that were drawn, and compare the rows themselves on PostgreSQL."""
    layout = journey.project.layout
    spelled = collections(layout)
    homes = {
        key: placed.home.columns
        for key, placed in layout.placement.tables.items()
        if placed.home is not None
    }
    through = {
        key: (owners[0].info[OWNER].table, owners[0].info[OWNER].columns)
        for key in layout.regional
        if (owners := owner_columns(layout.table(key)))
    }
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        documents = client[journey.mongo_database]
        for table in schema.tables:
            key = schema.key(table)
            regional = layout.placement[key].kind in (Kind.root, Kind.owned)
            wanted = (
                schema.rows_per_region(table, homes, through)
                if regional
                else Counter({None: len(table.rows)} if table.rows else {})
            )
            region = quoted(layout.region_column) if regional else "NULL::text"
            found = journey.rows(
                f"SELECT {region}, count(*) FROM {quoted(layout.name(key))} GROUP BY 1"
            )
            assert dict(found) == dict(wanted), (key, found, wanted)
            _same_rows(schema, table, journey, layout.name(key))
            if with_mongo:
                regions = layout.topology.codes if regional else (None,)
                counted = {
                    code: documents[spelled.collection(key, code)].count_documents({})
                    for code in regions
                }
                assert {code: n for code, n in counted.items() if n} == dict(wanted), key


def _same_rows(schema: Schema, table: Table, journey: Journey, name: str) -> None:
    columns = ", ".join(f"{quoted(column.name)}::text" for column in table.columns)
    if not columns:
        return
    source = query(journey.source, f"SELECT {columns} FROM {table.sql} ORDER BY 1")
    target = journey.rows(f"SELECT {columns} FROM {quoted(name)} ORDER BY 1")
    assert sorted(map(repr, source)) == sorted(map(repr, target)), (schema.seed, name)
