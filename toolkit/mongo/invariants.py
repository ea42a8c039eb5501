"""The operator's invariants: aggregations that must return no document."""

from __future__ import annotations

from bson import json_util
from pymongo import errors
from pymongo.database import Database

from toolkit.config import InvariantSection
from toolkit.findings import Code, Finding, sampled_keys
from toolkit.mongo.session import Document, reason
from toolkit.mongo.tally import Tally

#: Stages that write.
_WRITES = ("$out", "$merge")


def violated(
    database: Database[Document], server: str, invariant: InvariantSection
) -> Finding | None:
    """Run an invariant that is declared for MongoDB; return what violates it."""
    assert invariant.mongo is not None
    name, collection = invariant.name, invariant.mongo.collection
    tally = Tally()
    try:
        pipeline = json_util.loads(invariant.mongo.pipeline)
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
