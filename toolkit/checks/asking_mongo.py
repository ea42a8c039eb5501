"""What a check asks of the layout ``collections``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import errors

from toolkit.checks.asking import REGION, Columns, QueryFailed, Question, Row
from toolkit.checks.cells import Reader, companions
from toolkit.checks.comparison import Answer
from toolkit.checks.parameters import Parameters, extended_json, in_region, substitute
from toolkit.checks.plans import FEW_ROWS, Scan, Trace, mongo_relations, mongo_trace, writes
from toolkit.config import MongoQuery, QuerySection
from toolkit.errors import ConnectionFailed, UsageError
from toolkit.layout import Layout
from toolkit.mongo.layout import collections
from toolkit.mongo.session import MongoSession, connect, reason, translated
from toolkit.mongo.types import VERIFY_OPTIONS

_NAMES_REGION = re.compile(r'\{region\}|"\$param"\s*:\s*"region"')


class MongoAsker:
    """The layout ``collections``.

    Args:
        connection: an open connection.
        database: the name of the database.
        decisions: of the layout.
        server: the name of the server.
    """

    layout = "collections"

    def __init__(
        self, connection: MongoSession, database: str, decisions: Layout, server: str
    ) -> None:
        spelled = collections(decisions)
        self.server = server
        self.database = connection.database(database)
        #: Documents stay undecoded until they are compared.
        self.raw = self.database.with_options(codec_options=VERIFY_OPTIONS)
        self.link = spelled.link.name
        self.region_field = decisions.region_column
        self.parts = {
            name: region
            for regional in spelled.regional.values()
            for region, name in regional.names.items()
        }
        with translated("list views"):
            self.views: Mapping[str, tuple[str, Any]] = {
                found["name"]: (found["options"]["viewOn"], found["options"]["pipeline"])
                for found in self.database.list_collections(filter={"type": "view"})
            }

    def question(self, query: QuerySection, parameters: Parameters) -> Question | None:
        """Return the aggregation; ``None`` where none is declared."""
        if query.mongo is None:
            return None
        return _MongoQuestion(self, query.name, query.mongo, query.client, parameters)

    def wants_index(self, scan: Scan) -> bool:
        """Return whether it is regional, or large: MongoDB uses an index wherever there is one."""
        return scan.relation in self.parts or scan.rows > FEW_ROWS


class _MongoQuestion:
    def __init__(
        self,
        asker: MongoAsker,
        name: str,
        query: MongoQuery,
        client: str | None,
        parameters: Parameters,
    ) -> None:
        self._asker = asker
        self._collection = query.collection
        where = f"query {name!r}, mongo.pipeline"
        self._pipeline = extended_json(query.pipeline, where)
        if not isinstance(self._pipeline, list) or writes(self._pipeline):
            raise UsageError(
                f"{where}: it is not a list of stages, or it would write",
                hint="write a list of stages without $out and $merge",
            )
        named = _NAMES_REGION.search(f"{query.collection} {query.pipeline}")
        self._client = client if named else None
        self._parameters = parameters
        self._typed: dict[int, dict[str, object]] = {}

    def _filled_in(self, row: Row) -> tuple[str, list[dict[str, Any]]]:
        """Return collection and pipeline; the client's region is looked up first."""
        values = self._bson(row)
        region = None
        if self._client is not None:
            link = self._asker.raw[self._asker.link].find_one(
                {"_id": values[self._client]}, {self._asker.region_field: 1}
            )
            if link is None:
                raise QueryFailed("a client that was drawn has no link: it was not migrated")
            region = str(link[self._asker.region_field])
            values = {**values, REGION: region}
        return (
            in_region(self._collection, region),
            substitute(self._pipeline, values, region),
        )

    def _bson(self, row: Row) -> dict[str, object]:
        # The rows are those of the parameters, which outlive this question.
        if id(row) not in self._typed:
            self._typed[id(row)] = self._parameters.bson(row)
        return self._typed[id(row)]

    def _documents(self, row: Row) -> list[RawBSONDocument]:
        collection, pipeline = self._filled_in(row)
        with self._asker.raw[collection].aggregate(pipeline) as cursor:
            return list(cursor)

    def answer(self, row: Row, columns: Columns | None) -> Answer:
        """Return the documents as rows of the source's columns."""
        assert columns is not None
        expected = columns.keys() | companions(columns) | {"_id"}
        readers = {name: Reader(type_) for name, type_ in columns.items()}
        rows: Counter[Any] = Counter()
        strange: set[str] = set()
        with _failing():
            for document in self._documents(row):
                rows[tuple(reader.field(document, name) for name, reader in readers.items())] += 1
                strange |= document.keys() - expected
        return Answer(columns, rows, frozenset(strange))

    def run(self, row: Row) -> int:
        """Run it; documents stay undecoded, which is Python's work and not the layout's."""
        with _failing():
            return len(self._documents(row))

    def explain(self, row: Row) -> Trace:
        """Run explain with ``executionStats``."""
        with _failing():
            collection, pipeline = self._filled_in(row)
            found = self._asker.database.command(
                {
                    "explain": {"aggregate": collection, "pipeline": pipeline, "cursor": {}},
                    "verbosity": "executionStats",
                }
            )
        relations = mongo_relations(collection, pipeline, self._asker.views)
        return mongo_trace(found, relations)


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except errors.ConnectionFailure as error:
        raise ConnectionFailed(
            f"MongoDB does not answer: {reason(error)}",
            hint="when the server is back, run the command again",
        ) from None
    except errors.PyMongoError as error:
        raise QueryFailed(reason(error)) from None


@contextmanager
def open_mongo(url: str, database: str, decisions: Layout, *, server: str) -> Iterator[MongoAsker]:
    """Open the layout ``collections`` for questions.

    Raises:
        ConnectionFailed: nobody answers.
    """
    with connect(url) as connection:
        yield MongoAsker(connection, database, decisions, server)
