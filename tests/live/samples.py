"""The hard samples: their schemas, what must come of them, and an oracle that is not regionkit.

Each folder of ``tests/samples`` with a ``case.toml`` is one. What stands there is asserted to the
letter by ``test_samples.py``, and told by ``docs/cases.md``.
"""

from __future__ import annotations

import csv
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pymongo import MongoClient

from tests.live.journey import Journey, query
from tests.live.support import ROOT, SAMPLES, binary

#: Rows per region of every table, by its key; global tables have the region ``""``.
Rows = dict[str, Counter[str]]


@dataclass(frozen=True)
class Refusal:
    """A command that must fail: with which exit code, and saying what."""

    command: str
    code: int
    says: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """What ``case.toml`` says of a sample.

    Attributes:
        name: of its folder.
        hard: what makes it hard, in half a sentence.
        root: key of the root.
        region_by: the path to a client's region that ``init`` is told.
        region_sql: the expression that it is told instead.
        schemas: the source's schemas, the default one first.
        clients: SQL on the source: each client's key as text, and the value that the map knows.
        key: the client's key as SQL over the root's row, ``c``.
        move: a client's key and the region that it moves to.
        asks: the tables that ``init`` asks about.
        unproposed: those of them for which it cannot propose what the operator states.
        stated: what the operator adds to ``regionkit.toml``.
        placement: of every table: ``root``, ``global``, or the columns that it follows and whom.
        owner: for each owned table a FROM clause: its rows are ``t``, their clients ``c``; the
            names of tables stand in braces.
        only: tables that are read with ONLY, because others inherit from them.
        names: of tables in the layouts, where they are not the source's.
        collections: the same on MongoDB, where they differ again.
        region_column: its name in the layouts.
        link: the name of the link.
        refused: by backend, what is refused.
        left: by backend, what ``init`` lists as left behind: ``kind: name`` of each object.
        given_up: what PostgreSQL refuses when ``apply`` tries it: ``kind name`` of each object.
        notes: what ``init`` says of the schema besides.
        nobody: the region of the rows that belong to no client, where there are any.
        needs: the major version of PostgreSQL that the schema needs, where it is a late one.
        slow: it is run by ``make samples`` only.
    """

    name: str
    hard: str
    root: str
    clients: str
    placement: Mapping[str, str]
    owner: Mapping[str, str]
    move: tuple[str, str] | None = None
    region_by: str | None = None
    region_sql: str | None = None
    schemas: tuple[str, ...] = ("public",)
    key: str = "c.id"
    only: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    unproposed: tuple[str, ...] = ()
    stated: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    collections: Mapping[str, str] = field(default_factory=dict)
    region_column: str = "region"
    link: str = "client_region"
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    left: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    given_up: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    nobody: str | None = None
    needs: int = 15
    slow: bool = False

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return SAMPLES / self.name

    @property
    def regions(self) -> dict[str, str]:
        """From the value that the map knows to the region."""
        with (self.folder / "map.csv").open(encoding="utf-8", newline="") as file:
            return dict(list(csv.reader(file))[1:])

    @property
    def owned(self) -> tuple[str, ...]:
        """The keys of the tables whose rows live in regions, without the root."""
        return tuple(table for table, kind in self.placement.items() if kind not in _NOT_OWNED)

    def load(self, url: str) -> None:
        """Load schema and rows into a database."""
        subprocess.run(
            [
                binary("psql"),
                *("--quiet", "--no-psqlrc", "--output=/dev/null", "--set=ON_ERROR_STOP=1"),
                f"--file={self.folder / 'schema.sql'}",
                url,
            ],
            check=True,
        )

    def in_source(self, table: str) -> str:
        """Return a table of the source, as SQL."""
        schema, dot, name = table.partition(".")
        if not dot or schema not in self.schemas:
            schema, name = self.schemas[0], table
        only = "ONLY " if table in self.only else ""
        return only + sql.Identifier(schema, name).as_string()

    def in_target(self, table: str) -> str:
        """Return a table of the layout ``tables``, as SQL."""
        return sql.Identifier(self.names.get(table, table)).as_string()

    def in_mongo(self, table: str) -> str:
        """Return the name of a table in the layout ``collections``."""
        return self.collections.get(table, self.names.get(table, table))

    def of_client(self, table: str, relation: Callable[[str], str]) -> str:
        """Return the FROM clause of a table's rows, ``t``, and their clients, ``c``."""
        clause = f"{{{self.root}}} c" if table == self.root else self.owner[table]
        return re.sub(r"\{([^}]+)\}", lambda found: relation(found[1]), clause)


def major(url: str) -> int:
    """Return the major version of a PostgreSQL."""
    return int(_row(url, "SHOW server_version_num")[0]) // 10000


def literal(text: str) -> str:
    """Return a string as SQL writes it."""
    return sql.Literal(text).as_string()


_NOT_OWNED = ("root", "global")


def read(folder: Path) -> Case:
    """Read the ``case.toml`` of a sample."""
    said = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
    for key in ("move", "schemas", "only", "asks", "unproposed", "given_up", "notes"):
        if key in said:
            said[key] = tuple(said[key])
    said["refused"] = {
        backend: Refusal(one["command"], one["code"], tuple(one["says"]))
        for backend, one in said.get("refused", {}).items()
    }
    said["left"] = {backend: tuple(lines) for backend, lines in said.get("left", {}).items()}
    return Case(name=folder.name, **said)


PAGE = ROOT / "docs" / "cases.md"
CASES = {path.parent.name: read(path.parent) for path in sorted(SAMPLES.glob("*/case.toml"))}


def homes(case: Case, url: str) -> dict[str, str]:
    """Return the region of every client, by its key."""
    regions = case.regions
    return {
        str(key): regions[value] for key, value in query(url, case.clients, schema=case.schemas[0])
    }


def in_the_source(case: Case, url: str, home: Mapping[str, str]) -> Rows:
    """Count the rows of every table per region, in the source: each row once, or it fails."""
    found: Rows = {}
    for table, kind in case.placement.items():
        (total,) = _row(url, f"SELECT count(*) FROM {case.in_source(table)}")
        if kind == "global":
            found[table] = Counter({"": total})
            continue
        clause = case.of_client(table, case.in_source)
        rows = query(url, f"SELECT ({case.key})::text, count(*) FROM {clause} GROUP BY 1")
        found[table] = Counter()
        for client, count in rows:
            found[table][_region(case, home, client)] += count
        assert found[table].total() == total, f"the oracle for {table} is wrong"
    return found


def _region(case: Case, home: Mapping[str, str], client: str | None) -> str:
    """Return where a client's rows belong, or those of nobody."""
    if client is not None:
        return home[client]
    assert case.nobody is not None
    return case.nobody


def in_tables(case: Case, journey: Journey, home: Mapping[str, str]) -> Rows:
    """Count the rows of every table per region, in PostgreSQL: none is where its client is not."""
    found: Rows = {}
    region = sql.Identifier(case.region_column).as_string()
    for table, kind in case.placement.items():
        ((total,),) = journey.rows(f"SELECT count(*) FROM {case.in_target(table)}")
        if kind == "global":
            found[table] = Counter({"": total})
            continue
        clause = case.of_client(table, case.in_target)
        alias = "c" if table == case.root else "t"
        rows = journey.rows(
            f"SELECT ({case.key})::text, {alias}.{region}, "
            "pg_get_expr(leaf.relpartbound, leaf.oid), count(*) "
            f"FROM {clause} JOIN pg_class leaf ON leaf.oid = {alias}.tableoid GROUP BY 1, 2, 3"
        )
        found[table] = Counter()
        for client, code, bound, count in rows:
            assert code == _region(case, home, client), (
                f"a row of {table} is in {code}, its client is not"
            )
            assert bound == f"FOR VALUES IN ('{code}')"
            found[table][code] += count
        assert found[table].total() == total, f"a row of {table} has lost its client"
    link = sql.Identifier(case.link).as_string()
    ((links,),) = journey.rows(f"SELECT count(*) FROM {link}")
    assert links == len(home)
    return found


def in_collections(case: Case, journey: Journey) -> Rows:
    """Count the documents of every table per region, in MongoDB: by what they say of themselves."""
    found: Rows = {}
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        database = client[journey.mongo_database]
        collections = {one["name"]: one for one in database.list_collections()}
        for table, kind in case.placement.items():
            name = case.in_mongo(table)
            if kind == "global":
                assert collections[name]["type"] == "collection"
                found[table] = Counter({"": database[name].count_documents({})})
                continue
            parts = _parts(collections[name]["options"])
            assert len(parts) == len(set(case.regions.values()))
            found[table] = Counter()
            for part in parts:
                codes = database[part].distinct(case.region_column)
                assert len(codes) < 2, f"{part} holds rows of several regions"
                for code in codes:
                    found[table][code] += database[part].count_documents({})
    return found


def _parts(view: Mapping[str, Any]) -> list[str]:
    """Return the collections that a view unites."""
    return [
        view["viewOn"],
        *(_united(stage) for stage in view["pipeline"] if "$unionWith" in stage),
    ]


def _united(stage: Mapping[str, Any]) -> str:
    united = stage["$unionWith"]
    return str(united if isinstance(united, str) else united["coll"])


def _row(url: str, statement: str) -> tuple[Any, ...]:
    (row,) = query(url, statement)
    return row


def move(case: Case, journey: Journey) -> None:
    """Move a client as docs/layout-tables.md says: one update of the link."""
    assert case.move is not None
    client, region = case.move
    link = sql.Identifier(case.link)
    with psycopg.connect(journey.postgres) as connection:
        connection.execute(
            "SELECT set_config('search_path', quote_ident(%s), false)", [journey.schema]
        )
        columns = connection.execute(
            "SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n) FROM pg_index i, "
            "unnest(i.indkey) WITH ORDINALITY k (attnum, n), pg_attribute a "
            "WHERE i.indrelid = %s::regclass AND i.indisprimary AND a.attrelid = i.indrelid "
            "AND a.attnum = k.attnum",
            [link.as_string(connection)],
        ).fetchone()
        assert columns is not None
        connection.execute("SET CONSTRAINTS ALL DEFERRED")
        connection.execute("SELECT set_config('regionkit.moving', 'on', true)")
        moved = connection.execute(
            sql.SQL("UPDATE {} SET {} = %s WHERE ({})::text = %s").format(
                link, sql.Identifier(case.region_column), sql.SQL(columns[0])
            ),
            [region, client],
        )
        assert moved.rowcount == 1


# What docs/cases.md says --------------------------------------------------------------------------


def row(case: Case) -> dict[str, str]:
    """Return what docs/cases.md says of a case, by heading."""
    regional = sum(kind != "global" for kind in case.placement.values())
    return {
        "what makes it hard": case.hard,
        "`init`": "asks about " + ", ".join(f"`{one}`" for one in case.asks)
        if case.asks
        else "decides",
        "tables": f"{regional} regional, {len(case.placement) - regional} global",
        "layout `tables`": _outcome(case, "postgres"),
        "layout `collections`": _outcome(case, "mongo"),
        "said besides": "; ".join(case.notes),
    }


def _outcome(case: Case, backend: str) -> str:
    refusal = case.refused.get(backend)
    if refusal is not None:
        return f"refused by `{refusal.command}`: " + "; ".join(refusal.says)
    left = case.left.get(backend, ())
    if backend == "postgres":
        left = (*left, *(one.replace(" ", ": ", 1) for one in case.given_up))
    if not left:
        return "carried"
    if len(left) <= _NAMED:
        return "carried; left behind: " + ", ".join(left)
    kinds = Counter(kind for kind, _ in (_kind(line) for line in left))
    return "carried; left behind: " + ", ".join(
        f"{count} × {kind}" if count > 1 else kind for kind, count in sorted(kinds.items())
    )


#: So many objects that are left behind are named in the table; of more, the kinds are.
_NAMED = 3


def _kind(line: str) -> tuple[str, str]:
    kind, _, name = line.partition(": ")
    return kind, name


def page() -> str:
    """Return docs/cases.md with its table as it has to be."""
    rows = {name: row(case) for name, case in CASES.items()}
    heads = ["case", *next(iter(rows.values()))]
    lines = [heads, ["---"] * len(heads)]
    lines += [[f"`{name}`", *cells.values()] for name, cells in rows.items()]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    table = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("\n|")
    after = re.sub(r"\A.*?\n(?!\|)", "", f"|{rest}\n", flags=re.S)
    return f"{before}\n{table}\n{after}".rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
