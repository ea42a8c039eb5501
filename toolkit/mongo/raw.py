"""Cursors whose answers stay as the server sends them.

The driver's own raw cursor makes an object of every document and joins them again, which takes
longer than everything else that reading costs. Here an answer is found in the reply by its offsets:
the elements of a BSON array, each a byte 3, its index in digits, NUL, and the document.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError

from toolkit.mongo.expected import element_end

_Document = dict[str, Any]
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)

#: Documents in one answer of the server. Larger answers are slower, from both ends.
BATCH = 2_000


def find(
    database: Database[_Document],
    collection: str,
    query: Mapping[str, Any],
    projection: Mapping[str, int] | None = None,
    *,
    size: int | None = None,
) -> Generator[bytes, None, None]:
    """Yield the answers to a query, each as the elements of a BSON array.

    Args:
        database: where the collection is.
        collection: its name.
        query: the filter.
        projection: what is wanted of each document.
        size: how many documents are in an answer.
    """
    command: _Document = {"find": collection, "filter": query, "batchSize": size or BATCH}
    if projection is not None:
        command["projection"] = projection
    yield from _answers(database, collection, command, size or BATCH)


def aggregate(
    database: Database[_Document], collection: str, pipeline: list[_Document]
) -> Generator[bytes, None, None]:
    """Yield the answers to a pipeline, as :func:`find` does."""
    command = {"aggregate": collection, "pipeline": pipeline, "cursor": {"batchSize": BATCH}}
    yield from _answers(database, collection, command, BATCH)


def _answers(
    database: Database[_Document], collection: str, command: _Document, size: int
) -> Generator[bytes, None, None]:
    concern = database.read_concern.document
    with database.client.start_session() as session:
        reply = _run(database, session, {**command, "readConcern": concern})
        number, batch = reply["id"], reply["firstBatch"]
        try:
            while True:
                if batch:
                    yield batch
                if not number:
                    return
                more = {"getMore": Int64(number), "collection": collection, "batchSize": size}
                reply = _run(database, session, more)
                number, batch = reply["id"], reply["nextBatch"]
        finally:
            if number:
                # Whoever asked wants no more; what the server forgets by itself is no failure.
                with suppress(PyMongoError):
                    database.command(
                        {"killCursors": collection, "cursors": [Int64(number)]}, session=session
                    )


def _run(
    database: Database[_Document], session: ClientSession, command: _Document
) -> dict[str, Any]:
    """Return the cursor of a reply: its number, and the content of its batch."""
    reply = database.command(command, codec_options=_RAW, session=session)
    cursor = bytes(reply["cursor"].raw)
    found: dict[str, Any] = {}
    place = _SIZE.size
    # Its few fields come in an order of the server's own.
    while kind := cursor[place]:
        end = cursor.index(b"\0", place)
        name, value, place = cursor[place + 1 : end].decode(), end + 1, element_end(cursor, place)
        if kind == _ARRAY:
            found[name] = cursor[value + _SIZE.size : place - 1]
        elif kind == _LONG:
            (found[name],) = _NUMBER.unpack_from(cursor, value)
    return found


_SIZE, _NUMBER = struct.Struct("<i"), struct.Struct("<q")
_ARRAY, _LONG = 4, 18


def decoded(batch: bytes, options: CodecOptions[Any]) -> list[Any]:
    """Return the documents of an answer."""
    array = _SIZE.pack(len(batch) + _SIZE.size + 1) + batch + b"\0"
    whole = b"\x04all\0" + array + b"\0"
    found: list[Any] = bson.decode(_SIZE.pack(len(whole) + _SIZE.size) + whole, options)["all"]
    return found
