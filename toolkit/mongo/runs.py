"""Who ran a migration, when, and how it ended: the history in ``regionkit_journal``."""

from __future__ import annotations

from pymongo.collection import Collection

from toolkit.journal import Outcome, Pace, RunRecord
from toolkit.mongo.lock import JOURNAL
from toolkit.mongo.session import Document, MongoSession

#: Starts of a migration that are kept for each target; older ones are struck off.
_KEPT_RUNS = 1_000


class Runs:
    """The history of one target database.

    Args:
        session: an open connection.
        target: the name of the target database.
    """

    def __init__(self, session: MongoSession, target: str) -> None:
        self.target = target
        database = session.database(JOURNAL)
        self._chunks: Collection[Document] = database["chunks"]
        self._runs: Collection[Document] = database["runs"]

    def begin(self, record: RunRecord) -> None:
        """Note one start of a migration, or that it has come to copying.

        The second call for a record adds its epoch and the rows that it expects.
        """
        fields: Document = {
            "who": {"$literal": record.who},
            "pid": record.pid,
            "version": record.version,
            "fingerprint": record.fingerprint,
            "started_at": {"$ifNull": ["$started_at", "$$NOW"]},
            "epoch": record.epoch,
            "expected": record.expected,
            "copying_at": None if record.epoch is None else "$$NOW",
            "ended_at": None,
            "outcome": None,
            "exit_code": None,
            "rows": None,
            "throttled_by": None,
        }
        self._runs.update_one(self._record(record), [{"$set": fields}], upsert=True)
        outdated = self._runs.find(self._mine(), {"_id": 1}).sort("started_at", -1)
        old = [found["_id"] for found in outdated.skip(_KEPT_RUNS)]
        if old:
            self._runs.delete_many({"_id": {"$in": old}})

    def note(self, record: RunRecord, throttled_by: str) -> None:
        """Note what holds a start back now; empty: nothing."""
        self._runs.update_one(
            self._record(record), {"$set": {"throttled_by": throttled_by or None}}
        )

    def end(self, record: RunRecord, outcome: Outcome, code: int, rows: int) -> None:
        """Note how a start of a migration ended."""
        fields = {
            "ended_at": "$$NOW",
            "outcome": outcome.value,
            "exit_code": code,
            "rows": rows,
            "throttled_by": None,
        }
        self._runs.update_one(self._record(record), [{"$set": fields}])

    def all(self) -> list[RunRecord]:
        """Return every start that is kept, the newest first."""
        return [
            RunRecord(
                id=found["_id"]["id"],
                who=found["who"],
                pid=found["pid"],
                version=found["version"],
                fingerprint=found["fingerprint"],
                started=found["started_at"],
                epoch=found["epoch"],
                expected=found["expected"],
                ended=found["ended_at"],
                outcome=Outcome(found["outcome"]) if found["outcome"] else None,
                exit_code=found["exit_code"],
                rows=found["rows"],
                throttled_by=found["throttled_by"],
            )
            for found in self._runs.find(self._mine()).sort("started_at", -1)
        ]

    def pace(self, window: float) -> Pace:
        """Return what the newest run has copied within the last ``window`` seconds."""
        newest = self._runs.find_one(
            {**self._mine(), "copying_at": {"$ne": None}}, sort=[("started_at", -1)]
        )
        if newest is None:
            return Pace()
        since = {
            "$max": [
                {"$literal": newest["copying_at"]},
                {"$subtract": ["$$NOW", int(window * 1000)]},
            ]
        }
        found = list(
            self._chunks.aggregate(
                [
                    {"$match": {"_id.target": self.target, "epoch": newest["epoch"]}},
                    {"$match": {"$expr": {"$gte": ["$finished_at", since]}}},
                    {"$group": {"_id": None, "rows": {"$sum": "$rows"}}},
                ]
            )
        )
        (clock,) = self._runs.aggregate(
            [
                {"$match": {"_id": newest["_id"]}},
                {"$project": {"ms": {"$subtract": ["$$NOW", since]}}},
            ]
        )
        return Pace(int(found[0]["rows"]) if found else 0, float(clock["ms"]) / 1000)

    def _mine(self) -> Document:
        return {"_id.target": self.target}

    def _record(self, record: RunRecord) -> Document:
        return {"_id": {"target": self.target, "id": record.id}}
