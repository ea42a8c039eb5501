"""Documents on their way to another region, byte by byte. Pure.

A document is cut at its fields and put together again: whatever it holds arrives as it was.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping

from toolkit.digest import Digest, total
from toolkit.mongo.expected import element_end

_SIZE = struct.Struct("<i")
_STRING = b"\2"


def elements(document: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the fields of a document: name, and the whole element."""
    place = _SIZE.size
    while document[place]:
        end = element_end(document, place)
        name = document[place + 1 : document.index(b"\0", place + 1)].decode()
        yield name, document[place:end]
        place = end


def relocated(document: bytes, fields: Mapping[str, str]) -> bytes:
    """Return a document with other strings in some of its fields.

    Args:
        document: as BSON.
        fields: the new value of each field, by its name; a field that is not there is not added.
    """
    pieces = [
        _string(name, fields[name]) if name in fields else element
        for name, element in elements(document)
    ]
    body = b"".join(pieces)
    return _SIZE.pack(_SIZE.size + len(body) + 1) + body + b"\0"


def _string(name: str, value: str) -> bytes:
    data = value.encode() + b"\0"
    return _STRING + name.encode() + b"\0" + _SIZE.pack(len(data)) + data


def content_digest(documents: Iterable[bytes], without: Collection[str]) -> Digest:
    """Return the order-independent digest of documents, some fields left out."""
    return total(
        hashlib.md5(
            b"".join([element for name, element in elements(one) if name not in without]),
            usedforsecurity=False,
        ).hexdigest()
        for one in documents
    )
