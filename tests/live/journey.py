"""An operator's project for a test: a folder with ``regionkit.toml``, a source and its targets."""

from __future__ import annotations

import shutil
import textwrap
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from psycopg import sql
from pymongo import MongoClient

from tests.live.support import SAMPLES, Result, database, load_sample, regionkit
from toolkit.cli.project import Project, open_project
from toolkit.mongo import inspect as mongo_inspect
from toolkit.postgres import inspect as postgres_inspect
from toolkit.postgres import session
from toolkit.postgres.inspect import Catalogue

#: The databases in which regionkit keeps what was done.
JOURNAL = "regionkit_journal"


@dataclass(frozen=True)
class Journey:
    """One project, and the servers that its URLs lead to.

    Attributes:
        folder: holds ``regionkit.toml``; migrations are generated beside it.
        source: URL of the source.
        postgres: URL of the target database.
        mongo: URL of the MongoDB server.
    """

    folder: Path
    source: str
    postgres: str
    mongo: str = "mongodb://127.0.0.1:1"
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment that a command gets."""
        return {
            "REGIONKIT_CONFIG": str(self.folder / "regionkit.toml"),
            "REGIONKIT_SOURCE_URL": self.source,
            "REGIONKIT_POSTGRES_URL": self.postgres,
            "REGIONKIT_MONGO_URL": self.mongo,
            **self.extra,
        }

    def run(self, *arguments: str) -> Result:
        """Run a command in the project's folder."""
        return regionkit(*arguments, env=self.env, cwd=self.folder)

    def done(self, *arguments: str) -> Result:
        """Run a command that must succeed."""
        result = self.run(*arguments)
        assert result.code == 0, f"{arguments}: {result.code}\n{result.out}\n{result.err}"
        return result

    def prepare(self, backend: str) -> None:
        """Generate, apply and migrate one backend (or ``all``)."""
        for command in ("generate", "apply", "migrate"):
            self.done(command, "--backend", backend)

    @cached_property
    def project(self) -> Project:
        """The project as the commands see it."""
        with patch.dict("os.environ", self.env):
            return open_project(self.folder / "regionkit.toml")

    @property
    def schema(self) -> str:
        """The PostgreSQL schema of the layout."""
        return self.project.configuration.target_schema

    @property
    def mongo_database(self) -> str:
        """The MongoDB database of the layout."""
        return self.project.configuration.mongo_database

    def catalogue(self) -> Catalogue:
        """Return everything that the target's schema holds."""
        with session.connect(self.postgres, role="postgres") as connection:
            return postgres_inspect.catalogue(connection, self.schema)

    def mongo_catalogue(self) -> dict[str, Any]:
        """Return everything that the target's MongoDB database holds."""
        with MongoClient[dict[str, Any]](self.mongo) as client:
            return mongo_inspect.catalogue(client[self.mongo_database])

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the target, whose schema is the search path."""
        return query(self.postgres, statement, schema=self.schema)


def query(url: str, statement: str, *, schema: str | None = None) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with psycopg.connect(url, autocommit=True) as connection:
        if schema is not None:
            connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", [schema])
        return connection.execute(statement.encode()).fetchall()


def execute(url: str, *statements: str, schema: str | None = None, replica: bool = False) -> None:
    """Run statements in one transaction; ``replica`` keeps triggers and foreign keys silent."""
    with psycopg.connect(url) as connection:
        if schema is not None:
            connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", [schema])
        if replica:
            connection.execute("SET session_replication_role = replica")
        for statement in statements:
            connection.execute(statement.encode())


def write(folder: Path, toml: str, **files: str) -> Path:
    """Write ``regionkit.toml`` and further files into a folder; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "regionkit.toml").write_text(textwrap.dedent(toml), encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


@contextmanager
def northwind(postgres_url: str, mongo_url: str, folder: Path) -> Iterator[Journey]:
    """Yield Northwind as an operator has it: loaded, with its configuration, nothing generated."""
    shutil.copytree(SAMPLES / "northwind", folder, dirs_exist_ok=True)
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        load_sample("northwind", url)
        toml = folder / "regionkit.toml"
        text = toml.read_text(encoding="utf-8")
        assert 'database = "northwind_regional"' in text
        toml.write_text(text.replace('database = "northwind_regional"', f'database = "{name}"'))
        yield Journey(folder, url, url, mongo_url)


@contextmanager
def databases(server_url: str, count: int) -> Iterator[Sequence[str]]:
    """Create several databases; yield their URLs; drop them."""
    if count == 0:
        yield ()
        return
    with database(server_url) as url, databases(server_url, count - 1) as more:
        yield (url, *more)


@contextmanager
def copy_of(url: str) -> Iterator[str]:
    """Copy a database; yield the copy's URL; drop it."""
    head, _, query = url.partition("?")
    server, _, name = head.rpartition("/")
    copy = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(copy), sql.Identifier(name)
            )
        )
    try:
        yield f"{server}/{copy}" + (f"?{query}" if query else "")
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(copy))
            )


@contextmanager
def mongo_database(url: str) -> Iterator[str]:
    """Yield the name of a MongoDB database; drop it and its journal entries."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    try:
        yield name
    finally:
        drop_mongo(url, name)


def drop_mongo(url: str, name: str) -> None:
    """Drop a MongoDB database, and what the journal says of it."""
    with MongoClient[dict[str, Any]](url) as client:
        client.drop_database(name)
        journal = client[JOURNAL]
        for collection in journal.list_collection_names():
            journal[collection].delete_many(
                {
                    "$or": [
                        {"_id": {"$in": [name, f"migrate {name}"]}},
                        {"_id.target": name},
                        {"_id.database": name},
                    ]
                }
            )


def namespaces(url: str) -> list[tuple[Any, ...]]:
    """Everything that a server would show of a write: schemas, relations, and their rows."""
    return query(
        url,
        "SELECT n.nspname, c.relname, c.relfilenode, pg_relation_size(c.oid) FROM pg_namespace n "
        "LEFT JOIN pg_class c ON c.relnamespace = n.oid "
        "WHERE n.nspname !~ '^pg_|^information_schema$' ORDER BY 1, 2",
    )


def mongo_content(url: str) -> dict[str, dict[str, int]]:
    """Return the collections of every database with their documents; locks and starts are left out.

    A lock stays in the journal after it was released: its epoch may never begin anew. A start of a
    migration that is known stays in its history, also when it is refused.
    """
    with MongoClient[dict[str, Any]](url) as client:
        return {
            name: {
                one: client[name][one].estimated_document_count()
                for one in sorted(client[name].list_collection_names(filter={"type": "collection"}))
                if name != JOURNAL or one not in ("locks", "runs")
            }
            for name in client.list_database_names()
            if name not in ("admin", "config", "local")
        }


def contents(url: str, schema: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of every table of a schema as text, sorted; partitions left out."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with session.connect(url, role="postgres") as connection:
        tables = connection.execute(
            "SELECT relname, oid::regclass::text FROM pg_class "
            "WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relkind IN ('r', 'p') "
            "AND NOT relispartition ORDER BY 1",
            (schema,),
        ).fetchall()
        for name, qualified in tables:
            rows = connection.execute(f"SELECT t::text FROM {qualified} AS t ORDER BY 1").fetchall()
            found[str(name)] = rows
    return found
