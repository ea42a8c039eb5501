"""``regionkit.toml`` and the environment. They are read here and nowhere else.

A password never stands in the file: URLs come from the environment, from the lab, or from the file
without a password (libpq then asks its own password file or service).
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import re
import runpy
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from sqlalchemy import MetaData

from toolkit.errors import UsageError, redact
from toolkit.placement import Kind, Statement, Through
from toolkit.topology import Region, Topology, check_region_code

#: Where the configuration is looked for when ``--config`` does not say.
DEFAULT_NAME = "regionkit.toml"

#: Half of the lock table that PostgreSQL has by default: 64 locks for each of 100 connections.
TRANSACTION_LOCKS = 3200

Columns = str | list[str]


#: A size with the unit that PostgreSQL's settings take.
_MEMORY = r"^[1-9][0-9]*(kB|MB|GB)$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _without_password(url: str | None) -> str | None:
    if url is not None and redact(url) != url:
        raise ValueError("holds a password; keep it out of the file, in the environment variable")
    return url


class SourceSection(_Section):
    """``[source]``: the existing single-region PostgreSQL."""

    #: ``module:attribute`` or ``file.py:attribute`` of a SQLAlchemy MetaData; without it the source
    #: is reflected.
    metadata: str | None = None
    #: File with everything that MetaData loses (triggers, functions), beside the configuration.
    extras: str | None = None
    schema_name: str = Field("public", alias="schema")
    #: Further schemas; their tables are called ``schema.table`` wherever a table is named.
    schemas: list[str] = []
    url: str | None = None
    url_env: str = "REGIONKIT_SOURCE_URL"
    #: Module with ``create(connection)`` and ``load(connection, *, seed)``; only the demo uses it.
    demo: str | None = None

    _no_password = field_validator("url")(_without_password)


class PostgresSection(_Section):
    """``[target.postgres]``: where the layout ``tables`` lives."""

    schema_name: str | None = Field(None, alias="schema")
    url: str | None = None
    url_env: str = "REGIONKIT_POSTGRES_URL"
    #: Locks that one transaction of a migration may take.
    transaction_locks: Annotated[int, Field(ge=100)] = TRANSACTION_LOCKS

    _no_password = field_validator("url")(_without_password)


class MongoSection(_Section):
    """``[target.mongo]``: where the layout ``collections`` lives."""

    database: str | None = None
    url: str | None = None
    url_env: str = "REGIONKIT_MONGO_URL"
    #: Accept a server whose majority is one member. Its figures are marked *not durable*.
    allow_single_member: bool = False

    _no_password = field_validator("url")(_without_password)


class TargetSection(_Section):
    """``[target]``."""

    postgres: PostgresSection = PostgresSection()  # type: ignore[call-arg]
    mongo: MongoSection = MongoSection()


class RegionRule(_Section):
    """``[root.region]``: which region a client belongs to. Exactly one of column, sql, clients."""

    #: A column of the root, or hops over foreign-key columns ending in a column (``a_id.b_id.c``).
    column: str | None = None
    map: dict[str, str] | None = None
    #: CSV with two columns: value, region.
    map_file: str | None = None
    #: A SQL expression over the root, aliased ``root``, that gives the region code.
    sql: str | None = None
    #: CSV with the columns of the root's key, then the region.
    clients: str | None = None
    #: The region for NULL and unmapped values. Without it they are refused and listed.
    default: str | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> RegionRule:
        given = [name for name in ("column", "sql", "clients") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of column, sql and clients")
        if self.column is not None and (self.map is None) == (self.map_file is None):
            raise ValueError("column needs exactly one of map and map_file")
        return self


class RootSection(_Section):
    """``[root]``: the table whose rows are clients."""

    table: str
    region: RegionRule


class RegionSection(_Section):
    """``[regions.<code>]``."""

    title: str = ""


class RoundTripSection(_Section):
    """``[[round_trip]]``."""

    between: tuple[str, str]
    ms: Annotated[float, Field(ge=0)]


class PlacementSection(_Section):
    """``[placement.<table>]``."""

    kind: Literal["global", "owned"] | None = None
    home: Columns | None = None
    same_region: list[Columns] = []
    owner: str | None = None
    #: ``"<table> via <column>"``: the rows of that table which refer to this one tell the client.
    owned_through: str | None = None
    orphans: str | None = None

    @field_validator("owner", "owned_through")
    @classmethod
    def _via(cls, said: str | None) -> str | None:
        if said is not None and " via " not in said:
            raise ValueError('write "<table> via <column>[, <column>]"')
        return said


class MongoInvariant(_Section):
    """``mongo`` of ``[[invariant]]``. The pipeline is MongoDB Extended JSON."""

    collection: str
    pipeline: str


class InvariantSection(_Section):
    """``[[invariant]]``: SQL that must return no row, and its counterpart for MongoDB."""

    name: str
    sql: str
    #: ``{collection = "...", pipeline = "[...]"}``: an aggregation that must return no document.
    mongo: MongoInvariant | None = None


class MongoQuery(_Section):
    """``mongo`` of ``[[query]]``: an aggregation whose fields are named like the SQL's columns.

    The pipeline is MongoDB Extended JSON in which ``{"$param": "name"}`` stands for a parameter.
    """

    collection: str
    pipeline: str


class QuerySection(_Section):
    """``[[query]]``: a question that every layout must answer as the source does."""

    name: str
    #: The SQL of the single-region schema; parameters are ``%(name)s``.
    sql: str
    #: SQL on the source whose columns are the parameters; rows are drawn from it, seeded.
    draw: str | None = None
    #: The parameter that is a client's key. The client's region is looked up in the link first, and
    #: is then the parameter ``region``, and ``{region}`` in the names of collections.
    client: str | None = None
    #: Whether it asks about one client: it may touch the rows of one region only.
    lookup: bool = False
    #: The SQL for the layout ``tables``, where the single-region SQL is not the right one.
    tables: str | None = None
    #: The counterpart for MongoDB, where nothing translates SQL.
    mongo: MongoQuery | None = None
    #: ``p50``, ``p95`` or ``p99``: milliseconds that must not be exceeded on any layout.
    threshold: dict[Literal["p50", "p95", "p99"], Annotated[float, Field(gt=0)]] = {}


class SqlStatement(_Section):
    """One SQL statement of a write, and how many rows it must affect."""

    sql: str
    rows: Annotated[int, Field(ge=0)] | None = 1


class MongoCommand(_Section):
    """One database command of a write (Extended JSON), and how many documents it must affect."""

    command: str
    rows: Annotated[int, Field(ge=0)] | None = 1


class SqlWrite(_Section):
    """The statements of one transaction, and those that remove what it wrote."""

    statements: Annotated[list[SqlStatement], Field(min_length=1)]
    cleanup: Annotated[list[str], Field(min_length=1)]


class MongoWrite(_Section):
    """The commands of one transaction, and those that remove what it wrote.

    Where ``client`` of the write names a parameter, the transaction begins with ``$inc`` on that
    client's link document, which also tells ``{region}``.
    """

    commands: Annotated[list[MongoCommand], Field(min_length=1)]
    cleanup: Annotated[list[str], Field(min_length=1)]


class WriteSection(_Section):
    """``[[write]]``: a transaction whose latency is measured.

    Parameters are the columns of ``draw``, and ``mark``: a text that is the same for all rows of
    one run, by which ``cleanup`` finds them, ``unique``: a text that is never drawn twice, and
    ``number``: a whole number that is never drawn twice. ``cleanup`` knows ``mark``, and the
    range of the numbers: ``number_from`` and ``number_to``.
    """

    name: str
    #: SQL on the source whose columns are the parameters; rows are drawn from it, seeded.
    draw: str | None = None
    #: The parameter that is a client's key.
    client: str | None = None
    #: Where ``number`` begins; without it, at random beyond 2**40, as suits a bigint key.
    number_from: Annotated[int, Field(ge=0)] | None = None
    #: On the single-region source: the baseline.
    single: SqlWrite
    tables: SqlWrite | None = None
    mongo: MongoWrite | None = None
    #: ``p50``, ``p95``, ``p99``: milliseconds; ``overhead``: ratio of medians to the baseline.
    threshold: dict[Literal["p50", "p95", "p99", "overhead"], Annotated[float, Field(gt=0)]] = {}


class ChecksSection(_Section):
    """``[checks]``."""

    #: The region in which the servers of a layout stand, for round trips.
    home: str | None = None
    #: The same seed draws the same parameters in the same order.
    seed: int = 1


class ColumnSection(_Section):
    """``[columns."<table>.<column>"]``: how a column travels where types differ."""

    #: ``string``: as PostgreSQL's text form.
    as_: Literal["string"] = Field(alias="as")


class MigrationsSection(_Section):
    """``[migrations]``: folders, beside the configuration."""

    sql: str = "migrations_sql"
    nosql: str = "migrations_nosql"


class MigrateSection(_Section):
    """``[migrate]``."""

    #: Rows that are copied in one transaction; by default each layout has its own.
    chunk_rows: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    #: How long a statement may wait for a lock, in seconds.
    lock_timeout: Annotated[float, Field(gt=0)] = 3.0
    #: How long a statement may take, in seconds; 0 is without end, as long copies need it.
    statement_timeout: Annotated[float, Field(ge=0)] = 0.0
    #: How long a PostgreSQL may leave a trivial question unanswered before a run gives it up.
    answer_timeout: Annotated[float, Field(ge=1)] = 20.0
    #: Rows per second, all workers together.
    max_rate: Annotated[float, Field(gt=0)] | None = None
    #: Active sessions of the source above which nothing is begun.
    max_load: Annotated[int, Field(ge=0)] | None = None
    #: Seconds that a replica of the source may be behind.
    max_lag: Annotated[float, Field(gt=0)] | None = None
    #: Nothing is begun while this file exists; beside the configuration.
    pause_file: str | None = None
    #: What one session may use to sort and join, and to build an index; as PostgreSQL writes it.
    work_mem: Annotated[str, Field(pattern=_MEMORY)] = "64MB"
    maintenance_work_mem: Annotated[str, Field(pattern=_MEMORY)] = "256MB"


class File(_Section):
    """The whole of ``regionkit.toml``."""

    source: SourceSection = SourceSection()  # type: ignore[call-arg]
    target: TargetSection = TargetSection()
    root: RootSection
    regions: dict[str, RegionSection]
    round_trip: list[RoundTripSection] = []
    placement: dict[str, PlacementSection] = {}
    #: ``"<table>.<constraint>" = "global" | "region"``: how far a unique constraint reaches.
    unique: dict[str, Literal["global", "region"]] = {}
    #: By ``"<table>.<column>"``.
    columns: dict[str, ColumnSection] = {}
    invariant: list[InvariantSection] = []
    query: list[QuerySection] = []
    write: list[WriteSection] = []
    checks: ChecksSection = ChecksSection()
    migrations: MigrationsSection = MigrationsSection()
    migrate: MigrateSection = MigrateSection()


class Configuration:
    """A validated ``regionkit.toml``, with what the environment adds.

    Args:
        path: the file it was read from; relative paths in it start at its folder.
        file: the validated contents.
        environment: the process environment, read once.
    """

    def __init__(self, path: Path, file: File, environment: Mapping[str, str]) -> None:
        self.path = path
        self.file = file
        self._environment = environment
        self.topology = _topology(file)
        self.statements = {name: _statement(said) for name, said in file.placement.items()}
        self.region_map = self._region_map()
        self._check_regions()

    @property
    def folder(self) -> Path:
        """The operator's project."""
        return self.path.parent

    @property
    def source_schema(self) -> str:
        """The PostgreSQL schema of the source's tables."""
        return self.file.source.schema_name

    @property
    def source_schemas(self) -> tuple[str, ...]:
        """The PostgreSQL schemas of the source's tables, the default one first."""
        more = dict.fromkeys(self.file.source.schemas)
        return (self.source_schema, *(name for name in more if name != self.source_schema))

    @property
    def target_schema(self) -> str:
        """The PostgreSQL schema of the layout ``tables``."""
        return self.file.target.postgres.schema_name or f"{self.source_schema}_regional"

    @property
    def mongo_database(self) -> str:
        """The MongoDB database of the layout ``collections``."""
        return self.file.target.mongo.database or f"{self.source_schema}_regional"

    @property
    def sql_migrations(self) -> Path:
        """The folder of the Alembic environment."""
        return self.folder / self.file.migrations.sql

    @property
    def nosql_migrations(self) -> Path:
        """The folder of the MongoDB migrations."""
        return self.folder / self.file.migrations.nosql

    def url(self, role: Literal["source", "postgres", "mongo"]) -> str | None:
        """Return the URL that the environment, or else the file, gives for a role.

        ``None`` leaves it to the lab. The target ``postgres`` is the source's own server unless it
        has a URL of its own.
        """
        section: SourceSection | PostgresSection | MongoSection
        section = self.file.source if role == "source" else getattr(self.file.target, role)
        given = self._environment.get(section.url_env) or section.url
        if given is None and role == "postgres":
            return self.url("source")
        return given

    def url_variable(self, role: Literal["source", "postgres", "mongo"]) -> str:
        """Return the name of the environment variable that gives the URL of a role."""
        if role == "source":
            return self.file.source.url_env
        section: PostgresSection | MongoSection = getattr(self.file.target, role)
        return section.url_env

    @property
    def imports_metadata(self) -> bool:
        """Whether the schema is imported from Python, so that no server is needed to know it."""
        return self.file.source.metadata is not None

    def import_metadata(self) -> MetaData:
        """Import the ``MetaData`` that ``[source] metadata`` names.

        Raises:
            UsageError: there is no such module, file or attribute, or it is something else.
        """
        assert self.file.source.metadata is not None
        module, _, attribute = self.file.source.metadata.partition(":")
        if module.endswith(".py"):
            found = _run_file(self.folder / module, attribute)
        else:
            found = import_name(self.file.source.metadata, self.folder)
        if not isinstance(found, MetaData):
            raise UsageError(
                f"[source] metadata: {self.file.source.metadata!r} is a {type(found).__name__}",
                hint='name a SQLAlchemy MetaData, as "package.module:attribute" or '
                '"file.py:attribute"',
            )
        return found

    def demo_module(self) -> Any:
        """Import the module that ``[source] demo`` names: it creates and fills the source."""
        if self.file.source.demo is None:
            raise UsageError(
                f"{self.path.name} declares no demonstration data",
                hint="run the demo with the configuration of the reference bank: "
                "--config schemas/bank/regionkit.toml",
            )
        return import_name(self.file.source.demo, self.folder)

    def extras_text(self) -> str:
        """Return the text of the extras file, empty where none is named."""
        if self.file.source.extras is None:
            return ""
        return _read(self.folder / self.file.source.extras, "[source] extras")

    def clients(self) -> list[tuple[str, ...]] | None:
        """Return the rows of ``[root.region] clients``: the key's values, then the region."""
        name = self.file.root.region.clients
        if name is None:
            return None
        rows = self._csv(name, "[root.region] clients")
        seen: dict[tuple[str, ...], str] = {}
        for line, row in rows:
            if len(row) < 2 or len(row) != len(rows[0][1]):
                raise UsageError(
                    f"{name}, line {line}: {len(row)} column(s) instead of {len(rows[0][1])}",
                    hint="each line holds the columns of the root's key, then the region",
                )
            if seen.setdefault(row[:-1], row[-1]) != row[-1]:
                raise UsageError(
                    f"{name}, line {line}: the client of an earlier line has a second region",
                    hint="keep one line per client",
                )
            if row[-1] not in self.topology.codes:
                raise UsageError(
                    f"{name}, line {line}: region {row[-1]!r} is not declared",
                    hint=f"declared are {', '.join(self.topology.codes)}",
                )
        return [row for _, row in rows]

    def decisions(self) -> dict[str, Any]:
        """Return everything here that decides where a row goes, as JSON."""
        decides: dict[str, Any] = self.file.model_dump(
            mode="json", include={"root", "placement", "unique"}
        )
        decides["columns"] = {name: said.as_ for name, said in self.file.columns.items()}
        # A title may change at any time.
        decides["regions"] = list(self.topology.codes)
        decides["root"]["region"] |= {"map": self.region_map, "clients": self.clients()}
        decides["source schema"] = self.source_schema
        decides["source schemas"] = list(self.source_schemas)
        decides["target schema"] = self.target_schema
        decides["target database"] = self.mongo_database
        # As it will be when it comes back from a journal.
        found: dict[str, Any] = json.loads(json.dumps(decides))
        return found

    def _region_map(self) -> dict[str, str]:
        rule = self.file.root.region
        if rule.map is not None:
            return dict(rule.map)
        if rule.map_file is None:
            return {}
        mapping: dict[str, str] = {}
        for line, row in self._csv(rule.map_file, "[root.region] map_file"):
            if len(row) != 2:
                raise UsageError(
                    f"{rule.map_file}, line {line}: {len(row)} column(s) instead of 2",
                    hint="each line holds a value and its region",
                )
            if mapping.setdefault(row[0], row[1]) != row[1]:
                raise UsageError(
                    f"{rule.map_file}, line {line}: {row[0]!r} has a second region",
                    hint="keep one line per value",
                )
        return mapping

    def _csv(self, name: str, what: str) -> list[tuple[int, tuple[str, ...]]]:
        """Return the rows of a CSV file below its header, each with its line number."""
        header, *rows = _csv(self.folder / name, what) or [(1, ())]
        if header[1] and header[1][-1] in self.topology.codes:
            raise UsageError(
                f"{name}: the first line is data, it ends in region {header[1][-1]!r}",
                hint="put a line with the names of the columns on top",
            )
        return rows

    def _check_regions(self) -> None:
        known = set(self.topology.codes)
        used: dict[str, str] = {
            f"[root.region] map, {value!r}": region for value, region in self.region_map.items()
        }
        if self.file.root.region.default is not None:
            used["[root.region] default"] = self.file.root.region.default
        for table, said in self.file.placement.items():
            if said.orphans is not None:
                used[f"[placement.{table}] orphans"] = said.orphans
        if self.file.checks.home is not None:
            used["[checks] home"] = self.file.checks.home
        for pair in self.file.round_trip:
            for code in pair.between:
                used.setdefault(f"[[round_trip]] {list(pair.between)}", code)
                if code not in known:
                    used[f"[[round_trip]] {list(pair.between)}"] = code
        wrong = [f"{where}: {region!r}" for where, region in used.items() if region not in known]
        if wrong:
            raise UsageError(
                f"{self.path.name} uses {len(wrong)} region(s) that are not declared",
                details=wrong,
                hint=f"declared in [regions] are {', '.join(self.topology.codes)}",
            )


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Configuration:
    """Read and validate ``regionkit.toml``.

    Args:
        path: the file; default ``REGIONKIT_CONFIG``, then ``regionkit.toml`` in this folder.
        environment: the process environment; default the real one.

    Raises:
        UsageError: the file is missing or wrong. The error names each key, what is wrong with it
            and what would be right.
    """
    environment = dict(os.environ) if environment is None else environment
    path = path or Path(environment.get("REGIONKIT_CONFIG", DEFAULT_NAME))
    text = _read(path, "the configuration")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{path} is not valid TOML: {error}", hint="correct the line that is named"
        ) from None
    try:
        file = File.model_validate(raw)
    except ValidationError as error:
        raise UsageError(
            f"{path} has {error.error_count()} mistake(s)",
            details=[_explain(dict(item)) for item in error.errors()],
            hint="see docs/configuration.md for every key",
        ) from None
    return Configuration(path.resolve(), file, environment)


def default_url(
    role: Literal["source", "mongo"], environment: Mapping[str, str] | None = None
) -> str | None:
    """Return the URL that the environment gives for a role where there is no configuration yet."""
    section = SourceSection if role == "source" else MongoSection
    name = str(section.model_fields["url_env"].default)
    return (dict(os.environ) if environment is None else environment).get(name) or None


def import_name(name: str, folder: Path) -> Any:
    """Import ``module:attribute`` or ``module``, in the project's or the current folder too.

    Raises:
        UsageError: the name has another form, or there is no such module or attribute.
    """
    module_name, _, attribute = name.partition(":")
    for place in (str(Path.cwd()), str(folder)):
        if place not in sys.path:
            sys.path.append(place)
    try:
        module = importlib.import_module(module_name)
        return getattr(module, attribute) if attribute else module
    except Exception as error:  # noqa: BLE001  (the operator's module may raise anything)
        raise UsageError(
            f"cannot import {name!r}: {type(error).__name__}: {error}",
            hint='write it as "package.module:attribute", importable from the project\'s folder',
        ) from None


def _run_file(path: Path, attribute: str) -> Any:
    """Run a Python file of the operator's and return what it calls ``attribute``.

    It is no module of the process: two projects may each have a ``schema.py``.
    """
    try:
        return runpy.run_path(str(path))[attribute]
    except Exception as error:  # noqa: BLE001  (the operator's file may raise anything)
        raise UsageError(
            f"cannot read {attribute!r} of {path}: {type(error).__name__}: {error}",
            hint='write it as "file.py:attribute", relative to the configuration',
        ) from None


def _explain(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "(file)"
    problem = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        problem = "there is no such key"
    elif error["type"] == "missing":
        problem = "is missing"
    return f"{where}: {problem}"


def _topology(file: File) -> Topology:
    return Topology(
        regions=tuple(
            Region(check_region_code(code), section.title) for code, section in file.regions.items()
        ),
        round_trips={frozenset(pair.between): pair.ms for pair in file.round_trip},
    )


def _statement(said: PlacementSection) -> Statement:
    owner: tuple[str, tuple[str, ...]] | None = None
    owner_key: tuple[str, ...] = ()
    through: Through | None = None
    if said.owner is not None:
        table, columns = _via(said.owner)
        if (named := _WITH_COLUMNS.fullmatch(table)) is not None:
            table, owner_key = named["table"].strip(), _listed(named["columns"])
        owner = (table, columns)
    if said.owned_through is not None:
        through = Through(*_via(said.owned_through))
    return Statement(
        kind=Kind(said.kind) if said.kind else None,
        home=_columns(said.home) if said.home is not None else None,
        same_region=tuple(_columns(columns) for columns in said.same_region),
        owner=owner,
        owner_key=owner_key,
        owned_through=through,
        orphans=said.orphans,
    )


#: ``accounts (number)``: a table, and columns of it.
_WITH_COLUMNS = re.compile(r"(?P<table>[^()]+)\((?P<columns>[^()]+)\)")


def _via(said: str) -> tuple[str, tuple[str, ...]]:
    """Take ``<table> via <column>[, <column>]`` apart."""
    table, _, columns = said.rpartition(" via ")
    return table.strip(), _listed(columns)


def _listed(columns: str) -> tuple[str, ...]:
    return tuple(column.strip() for column in columns.split(","))


def _columns(value: Columns) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"{what}: there is no file {path}",
            hint="name it with --config, or go to the folder that holds it",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{what}: cannot read {path}: {error}", hint="make it a readable UTF-8 file"
        ) from None


def _csv(path: Path, what: str) -> list[tuple[int, tuple[str, ...]]]:
    """Return the rows of a CSV file, its header too, each with the number of its last line."""
    reader = csv.reader(io.StringIO(_read(path, what).removeprefix("\ufeff"), newline=""))
    try:
        return [(reader.line_num, tuple(row)) for row in reader if row]
    except csv.Error as error:
        raise UsageError(
            f"{what}: {path}, line {reader.line_num}: {error}", hint="make it a CSV file"
        ) from None
