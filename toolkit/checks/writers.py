"""Declared writes as transactions on each layout: what the load's workers execute."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import psycopg
from bson import Int64
from psycopg.types.numeric import Int2, Int4, Int8
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from toolkit.checks.parameters import Parameters, extended_json, substitute
from toolkit.checks.prepared import Prepared
from toolkit.config import SqlStatement, SqlWrite, WriteSection
from toolkit.errors import ConnectionFailed
from toolkit.mongo import session as mongo_session
from toolkit.mongo.layout import EPOCH
from toolkit.mongo.session import MongoSession
from toolkit.postgres import session

LayoutName = Literal["single", "tables", "collections"]

#: The kind of failure of a write that affected other rows than declared: a lost write, mostly.
ROWS_AFFECTED = "rows-affected"

#: Seconds after which the server gives up a statement, or a transaction that nobody goes on with.
_SERVER_PATIENCE = 15

_NUMBERS_EACH = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where one layout is written.

    Attributes:
        layout: which one.
        url: the server itself: questions and removals go there.
        through: where the writers connect; the same, or a delay in front of it.
        name: the schema, or the MongoDB database.
        link: MongoDB's collection of links.
        region_field: the field of a link that holds the region.
    """

    layout: LayoutName
    url: str
    through: str
    name: str
    link: str = ""
    region_field: str = "region"

    @property
    def role(self) -> Literal["source", "postgres", "mongo"]:
        """The server's role, as ``regionkit.toml`` and the messages name it."""
        roles: dict[LayoutName, Literal["source", "postgres", "mongo"]] = {
            "single": "source",
            "tables": "postgres",
            "collections": "mongo",
        }
        return roles[self.layout]


@dataclass(frozen=True)
class Lane:
    """One write on one layout.

    Attributes:
        write: as declared.
        place: where.
        parameters: what was drawn for it.
        mark: of the run.
    """

    write: WriteSection
    place: Place
    parameters: Parameters
    mark: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.write.name!r} on {self.place.layout}"

    @property
    def sql(self) -> SqlWrite:
        """The statements for PostgreSQL."""
        write = self.write.single if self.place.layout == "single" else self.write.tables
        assert write is not None, "lanes are made for declared writes only"
        return write

    @cached_property
    def commands(self) -> tuple[tuple[dict[str, Any], int | None], ...]:
        """The commands for MongoDB, and the documents that each must affect."""
        assert self.write.mongo is not None, "lanes are made for declared writes only"
        return tuple(
            (extended_json(item.command, f"[[write]] {self.write.name!r}"), item.rows)
            for item in self.write.mongo.commands
        )

    def _width(self, name: str) -> type[Int2 | Int4 | Int8] | None:
        type_ = self.parameters.types.get(name)
        return None if type_ is None or type_.is_array else _WIDTHS.get(type_.name)

    def values(self, turn: int) -> dict[str, Any]:
        """Return the parameters of one request."""
        rows = self.parameters.rows
        row: Mapping[str, object] = rows[turn % len(rows)]
        if self.place.layout == "collections":
            row = self.parameters.bson(row)
        else:
            row = {
                name: _typed(value, self._width(name))
                for name, value in row.items()
                # A region that is handed in may be stale: the statements look it up.
                if name != "region" or self.write.client is None
            }
        first, _ = numbers(self.mark, self.write)
        return {
            **row,
            "mark": self.mark,
            "unique": f"{turn}.{_digest(self.write.name) % 100_000}@{self.mark}",
            "number": first + turn,
        }


def numbers(mark: str, write: WriteSection) -> tuple[int, int]:
    """Return the first and the last of the numbers that a run may use up for a write.

    They follow from the mark, so that a removal later knows them again.
    """
    first = write.number_from
    if first is None:
        # Above 2**40 and below 2**53: no key of a running system, and exact as a JSON number.
        first = (1 << 40) + (_digest(f"{mark} {write.name}") % (1 << 32)) * _NUMBERS_EACH
    return first, first + _NUMBERS_EACH - 1


#: psycopg would choose the type of an integer by its size. A statement would be prepared anew,
#: which is a round trip, whenever another size comes along: so integers keep their column's type.
_WIDTHS: dict[str, type[Int2 | Int4 | Int8]] = {
    "smallint": Int2,
    "integer": Int4,
    "bigint": Int8,
}
_WIDTHS_BY_OID: dict[int, type[Int2 | Int4 | Int8]] = {21: Int2, 23: Int4, 20: Int8}


def _typed(value: object, width: type[Int2 | Int4 | Int8] | None) -> object:
    return width(value) if width is not None and isinstance(value, int) else value


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@dataclass
class Failures:
    """What the first failure of each kind said, by lane; shared by all workers."""

    messages: dict[tuple[int, str], str] = field(default_factory=dict)

    def note(self, lane: int, kind: str, message: str) -> str:
        """Note a failure; return its kind."""
        self.messages.setdefault((lane, kind), message)
        return kind


class _WrongRows(Exception):
    """A statement affected other rows than declared."""


@dataclass
class Connections:
    """Where transactions that are still under way can be found, should they have to be ended.

    Attributes:
        sessions: MongoDB's ids of the sessions in use.
    """

    sessions: list[Any] = field(default_factory=list)


class SqlWriter:
    """Executes transactions over one connection of its own.

    Statements are prepared on the server when they are first used.
    """

    def __init__(self, place: Place, mark: str) -> None:
        self._place = place
        self._mark = mark
        self._open()

    def _open(self) -> None:
        place = self._place
        connection = session.connect(place.through, role=place.role)
        session.search_path(connection, place.name)
        settings = {
            "application_name": self._mark,
            # How long an application's write waits is what is measured.
            "lock_timeout": "0",
            "statement_timeout": f"{_SERVER_PATIENCE}s",
            "idle_in_transaction_session_timeout": f"{_SERVER_PATIENCE}s",
        }
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        self._connection = connection
        self._prepared = Prepared(connection)

    def execute(
        self, statements: Sequence[SqlStatement], values: dict[str, Any], *, keep: bool = True
    ) -> None:
        """Run one transaction, and commit it or, without ``keep``, take it back.

        Raises:
            ConnectionFailed: the connection was lost, and cannot be opened again.
            psycopg.Error: the server refused.
            _WrongRows: other rows were affected than declared.
        """
        if self._connection.closed:
            self._open()
        with self._prepared.transaction(keep=keep):
            for number, statement in enumerate(statements, 1):
                outcome = self._prepared.execute(statement.sql, values)
                if statement.rows is not None and outcome.rows != statement.rows:
                    raise _WrongRows(
                        f"statement {number} affected {outcome.rows} row(s), not {statement.rows}"
                    )
                # What a statement returns, the following ones can name.
                for name, (value, oid) in outcome.first.items():
                    values[name] = _typed(value, _WIDTHS_BY_OID.get(oid))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class MongoWriter:
    """Executes multi-document transactions over one client of its own."""

    def __init__(self, place: Place, connections: Connections) -> None:
        self._place = place
        self._connections = connections
        self._session: MongoSession = mongo_session.connect(place.through)
        self._database = self._session.database(place.name)

    def execute(self, lane: Lane, values: dict[str, Any], *, keep: bool = True) -> None:
        """Run one transaction, and commit it or, without ``keep``, take it back.

        Raises:
            PyMongoError: the server refused.
            _WrongRows: other documents were affected than declared.
        """
        with self._session.client.start_session() as running:
            identity = running.session_id
            self._connections.sessions.append(identity)
            running.start_transaction(
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority"),
                read_preference=ReadPreference.PRIMARY,
            )
            try:
                self._commands(lane, values, running)
                if keep:
                    running.commit_transaction()
            finally:
                if running.in_transaction:
                    running.abort_transaction()
                self._connections.sessions.remove(identity)

    def _commands(self, lane: Lane, values: dict[str, Any], running: ClientSession) -> None:
        region = self._region(lane, values, running)
        values = {**values, "region": region}
        for number, (command, rows) in enumerate(lane.commands, 1):
            answer = self._database.command(substitute(command, values, region), session=running)
            for error in answer.get("writeErrors", ()):
                raise OperationFailure(error.get("errmsg", ""), error.get("code"), error)
            affected = affected_documents(answer)
            if rows is not None and affected != rows:
                raise _WrongRows(f"command {number} affected {affected} document(s), not {rows}")

    def _region(self, lane: Lane, values: dict[str, Any], running: ClientSession) -> str | None:
        """Begin as every write to a client's documents must; return the client's region."""
        if lane.write.client is None:
            region = values.get("region")
            return None if region is None else str(region)
        link = self._database[self._place.link].find_one_and_update(
            {"_id": values[lane.write.client]}, {"$inc": {EPOCH: Int64(1)}}, session=running
        )
        if link is None:
            raise _WrongRows("the client has no link document")
        return str(link[self._place.region_field])

    def close(self) -> None:
        """Close every connection."""
        self._session.close()


def affected_documents(answer: Mapping[str, Any]) -> int:
    """Return how many documents a command affected, by its answer."""
    if "lastErrorObject" in answer:
        return int(answer["lastErrorObject"].get("n", 0))
    return int(answer.get("n", 0))


class LoadWorker:
    """One worker of the load: a connection of its own to each place.

    Args:
        lanes: what there is to do, by number.
        failures: where the first failure of each kind is noted.
        connections: where transactions under way are noted.
    """

    def __init__(self, lanes: Sequence[Lane], failures: Failures, connections: Connections) -> None:
        self._lanes = lanes
        self._failures = failures
        self._writers: dict[LayoutName, SqlWriter | MongoWriter] = {}
        with ExitStack() as opened:
            for lane in lanes:
                place = lane.place
                if place.layout in self._writers:
                    continue
                writer: SqlWriter | MongoWriter
                if place.layout == "collections":
                    writer = MongoWriter(place, connections)
                else:
                    writer = SqlWriter(place, lane.mark)
                opened.callback(writer.close)
                self._writers[place.layout] = writer
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close all connections."""
        self._opened.close()

    def rehearse(self, turn: int) -> None:
        """Have every statement prepared, which takes a round trip that must not be measured.

        The transactions are taken back; what they prepared stays.
        """
        for number, lane in enumerate(self._lanes):
            if lane.place.layout != "collections":
                self.prepare(number, turn, keep=False)()

    def prepare(self, lane: int, turn: int, *, keep: bool = True) -> Callable[[], str | None]:
        """Return one request, its parameters ready."""
        what = self._lanes[lane]
        values = what.values(turn)
        writer = self._writers[what.place.layout]

        def execute() -> str | None:
            try:
                if isinstance(writer, MongoWriter):
                    writer.execute(what, values, keep=keep)
                else:
                    writer.execute(what.sql.statements, values, keep=keep)
            except _WrongRows as error:
                return self._failures.note(lane, ROWS_AFFECTED, str(error))
            except psycopg.Error as error:
                return self._failures.note(lane, _kind(error), session.first_line(error))
            except OperationFailure as error:
                return self._failures.note(lane, _mongo_kind(error), mongo_session.reason(error))
            except PyMongoError as error:
                return self._failures.note(lane, type(error).__name__, mongo_session.reason(error))
            except ConnectionFailed as error:
                return self._failures.note(lane, "ConnectionFailed", error.message)
            return None

        return execute


@contextmanager
def load_worker(
    lanes: Sequence[Lane], failures: Failures, connections: Connections, *, turn: int
) -> Iterator[LoadWorker]:
    """Open the connections of one worker, and have its statements prepared; close them.

    Args:
        lanes: what there is to do, by number.
        failures: where the first failure of each kind is noted.
        connections: where transactions under way are noted.
        turn: whose parameters are rehearsed with: another for each worker, and none that the
            load will use.

    Raises:
        ConnectionFailed: a server does not answer.
    """
    worker = LoadWorker(lanes, failures, connections)
    try:
        worker.rehearse(turn)
        yield worker
    finally:
        worker.close()


def _kind(error: psycopg.Error) -> str:
    """Return the SQLSTATE and its name; without one (no connection), the driver's own name."""
    name = type(error).__name__
    return f"{error.sqlstate} {name}" if error.sqlstate else name


def _mongo_kind(error: OperationFailure) -> str:
    name = (error.details or {}).get("codeName")
    if name is None:
        name = _CODES.get(error.code or 0, type(error).__name__)
    return f"{error.code} {name}"


#: Names of codes that come with a write error, which has none.
_CODES = {112: "WriteConflict", 121: "DocumentValidationFailure", 11000: "DuplicateKey"}
