"""The operator's invariants: aggregations that must return no document."""

from __future__ import annotations

from collections.abc import Iterator

from bson import json_util
from pymongo import errors
from pymongo.database import Database

from toolkit.config import Configuration
from toolkit.findings import Code, Finding, sampled_keys
from toolkit.mongo.session import Document, reason
from toolkit.mongo.tally import Tally

#: Stages that write.
_WRITES = ("$out", "$merge")


def run(
    database: Database[Document], server: str, project: Configuration
) -> Iterator[tuple[str, Finding | None]]:
    """Run the invariants that are declared for MongoDB; yield each name with what it found."""
    for invariant in project.file.invariant:
        if invariant.mongo is not None:
            yield (
                invariant.name,
                _violated(
                    database,
                    server,
                    invariant.name,
                    invariant.mongo.collection,
                    invariant.mongo.pipeline,
                ),
            )


def _violated(
    database: Database[Document], server: str, name: str, collection: str, text: str
) -> Finding | None:
    tally = Tally()
    try:
        pipeline = json_util.loads(text)
        if any(stage.keys() & set(_WRITES) for stage in pipeline):
            return Finding(
                Code.invariant_violated, server, name, detail="it does not run: it would write"
            )
        for found in database[collection].aggregate(pipeline):
            tally.add(", ".join(map(str, found.values())))
    except (errors.PyMongoError, ValueError, TypeError, AttributeError) as error:
        return Finding(
            Code.invariant_violated, server, name, detail=f"it does not run: {reason(error)}"
        )
    if not tally.count:
        return None
    return Finding(
        Code.invariant_violated, server, name, count=tally.count, keys=sampled_keys(tally.keys)
    )
