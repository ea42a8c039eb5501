"""Removing what a run wrote: tried before anything is written, and proven afterwards.

The declared ``cleanup`` of a write is run in three ways: before the load, and taken back, when it
must touch nothing; after the load, in earnest; and once more, taken back, when it must find
nothing left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from pymongo.errors import OperationFailure, PyMongoError

from toolkit.checks.parameters import extended_json, substitute
from toolkit.checks.writers import Connections, Lane, LayoutName, affected_documents, numbers
from toolkit.errors import ConnectionFailed, Refused, RegionkitError, StoppedByUser, UsageError
from toolkit.mongo import session as mongo_session
from toolkit.postgres import session

#: Seconds that a transaction which was told to end gets to do so.
_PATIENCE = 10.0

_REGION = "{region}"


@dataclass(frozen=True)
class Removal:
    """Knows how to remove what one lane wrote.

    Attributes:
        lane: whose rows.
        regions: the codes of all regions, over which commands that name ``{region}`` are repeated.
    """

    lane: Lane
    regions: tuple[str, ...]

    def left(self) -> int:
        """Return how many rows the cleanup would touch. Writes nothing.

        Raises:
            UsageError: the declared cleanup does not run.
            ConnectionFailed: the server does not answer.
        """
        if self.lane.place.layout == "collections":
            return sum(self._mongo(_matching))
        return self._sql(keep=False)

    def remove(self) -> int:
        """Remove everything that bears the mark; return how many rows that touched.

        Raises:
            UsageError: the declared cleanup does not run.
            ConnectionFailed: the server does not answer.
        """
        if self.lane.place.layout == "collections":
            return sum(self._mongo(_execute))
        return self._sql(keep=True)

    @property
    def _values(self) -> dict[str, object]:
        first, last = numbers(self.lane.mark, self.lane.write)
        return {"mark": self.lane.mark, "number_from": first, "number_to": last}

    def _sql(self, *, keep: bool) -> int:
        place = self.lane.place
        with session.connect(place.url, role=place.role, autocommit=False) as connection:
            session.search_path(connection, place.name)
            touched = 0
            try:
                for statement in self.lane.sql.cleanup:
                    cursor = connection.execute(statement.encode(), self._values)
                    touched += max(0, cursor.rowcount)
            except psycopg.errors.InsufficientPrivilege as error:
                raise session.translate(error) from None
            except psycopg.Error as error:
                raise self._broken(session.first_line(error)) from None
            if keep:
                connection.commit()
            else:
                connection.rollback()
        return touched

    def _mongo(self, act: Callable[[Any, dict[str, Any]], int]) -> Iterator[int]:
        assert self.lane.write.mongo is not None, "lanes are made for declared writes only"
        place = self.lane.place
        where = f"[[write]] {self.lane.write.name!r}, cleanup"
        with mongo_session.connect(place.url) as opened:
            database = opened.database(place.name)
            for text in self.lane.write.mongo.cleanup:
                document = extended_json(text, where)
                for region in self.regions if _REGION in text else (None,):
                    command = substitute(document, self._values, region)
                    try:
                        yield act(database, command)
                    except OperationFailure as error:
                        raise self._broken(mongo_session.reason(error)) from None
                    except PyMongoError as error:
                        raise ConnectionFailed(
                            f"{self.lane.name}: {mongo_session.reason(error)}",
                            hint="when the server is back, remove what is left",
                        ) from None

    def _broken(self, reason: str) -> RegionkitError:
        return UsageError(
            f"the cleanup of {self.lane.name} does not run: {reason}",
            hint="correct `cleanup` in [[write]]; it knows mark, number_from and number_to",
        )


def _execute(database: Any, command: dict[str, Any]) -> int:
    answer = database.command(command)
    for error in answer.get("writeErrors", ()):
        raise OperationFailure(error.get("errmsg", ""), error.get("code"), error)
    return affected_documents(answer)


def _matching(database: Any, command: dict[str, Any]) -> int:
    """Return how many documents a command would touch; of aggregations only whether they run."""
    name = next(iter(command))
    if name not in ("delete", "update"):
        database.command({"explain": command, "verbosity": "queryPlanner"})
        return 0
    filters = [item["q"] for item in command["deletes" if name == "delete" else "updates"]]
    return sum(database[command[name]].count_documents(filter_) for filter_ in filters)


def require_nothing_marked(removals: Sequence[Removal]) -> None:
    """Refuse to begin where a cleanup would touch rows that the run has not even written.

    Raises:
        Refused: one would.
        UsageError: one does not run.
    """
    wrong = [
        f"{removal.lane.name}: {touched} row(s)"
        for removal in removals
        if (touched := removal.left())
    ]
    if wrong:
        raise Refused(
            "the declared cleanup would touch rows that this check has not written",
            details=wrong,
            hint="let every statement of `cleanup` ask for %(mark)s (MongoDB: "
            '{"$param": "mark"}), or for the range from number_from to number_to',
        )


def end_unfinished(lanes: Sequence[Lane], connections: Connections) -> None:
    """End what the run's own sessions still do on the servers, so that none commits later."""
    done: set[str] = set()
    for lane in lanes:
        if lane.place.layout in done:
            continue
        done.add(lane.place.layout)
        if lane.place.layout == "collections":
            _end_mongo(lane, connections)
        else:
            _end_sql(lane)


def _end_sql(lane: Lane) -> None:
    with session.connect(lane.place.url, role=lane.place.role) as connection:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            # The mark is the application name of the run's sessions, and of no other.
            found = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s",
                (lane.mark,),
            ).fetchall()
            if not found:
                return
            time.sleep(0.05)


def _end_mongo(lane: Lane, connections: Connections) -> None:
    if not connections.sessions:
        return
    with mongo_session.connect(lane.place.url) as opened, mongo_session.translated("end a write"):
        opened.client.admin.command({"killSessions": list(connections.sessions)})


@contextmanager
def removed_afterwards(
    removals: Sequence[Removal],
    connections: Connections,
    progress: Callable[[str], None],
    report: Callable[[dict[LayoutName, int]], None],
) -> Iterator[None]:
    """Remove what is written inside the ``with``, however it ends.

    Args:
        removals: of every lane.
        connections: of transactions that may still be under way.
        progress: is told what is going on.
        report: is told how many rows that touched, by layout.

    Raises:
        RegionkitError: something could not be removed; the hint tells how to go on.
    """
    mark = removals[0].lane.mark
    require_nothing_marked(removals)
    try:
        yield
    finally:
        progress("removing what was written")
        try:
            end_unfinished([removal.lane for removal in removals], connections)
            report(remove_all(removals))
        except (RegionkitError, KeyboardInterrupt) as error:
            raise _not_removed(mark, error) from None


def remove_all(removals: Sequence[Removal]) -> dict[LayoutName, int]:
    """Remove what several lanes wrote, and prove it; return how many rows that touched, by layout.

    Raises:
        RegionkitError: something is left.
    """
    touched: dict[LayoutName, int] = {}
    for removal in removals:
        layout = removal.lane.place.layout
        touched[layout] = touched.get(layout, 0) + removal.remove()
    left = [
        f"{removal.lane.name}: {rows} row(s)" for removal in removals if (rows := removal.left())
    ]
    if left:
        raise RegionkitError(
            "the declared cleanup leaves rows behind",
            details=left,
            hint="run a second time it must find nothing: correct `cleanup` in [[write]]",
        )
    return touched


def _not_removed(mark: str, error: BaseException) -> RegionkitError:
    kind: type[RegionkitError] = RegionkitError
    why: Sequence[str] = ("interrupted",)
    if isinstance(error, RegionkitError):
        kind = type(error)
        why = (error.message, *error.details)
    elif isinstance(error, KeyboardInterrupt):
        kind = StoppedByUser
    return kind(
        f"rows with the mark {mark} may be left",
        details=why,
        hint=f"regionkit check latency --remove {mark}",
    )
