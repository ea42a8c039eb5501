"""Keys of clients are read, and how their rows are found follows from the placement."""

from __future__ import annotations

import bson
import pytest
from bson.int64 import Int64

from toolkit.clients import digest_of, parse_key
from toolkit.errors import UsageError
from toolkit.mongo.relocating import content_digest, relocated


@pytest.mark.parametrize(
    ("text", "columns", "key"),
    [
        ("42", ["id"], ("42",)),
        # The value of a single column is taken as it is.
        ('a, "b"', ["id"], ('a, "b"',)),
        ("7,42", ["tenant", "id"], ("7", "42")),
        ('"a,b",42', ["tenant", "id"], ("a,b", "42")),
        ('["a,b", 42]', ["tenant", "id"], ("a,b", "42")),
    ],
)
def test_a_key_is_read(text: str, columns: list[str], key: tuple[str, ...]) -> None:
    assert parse_key(text, columns) == key


@pytest.mark.parametrize("text", ["", "secret", "secret,2,3", '["secret"', '["secret"]', "[]"])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_key(text, ["tenant", "id"])
    assert "secret" not in error.value.message + error.value.hint


def test_the_journal_tells_keys_apart_and_holds_none() -> None:
    assert digest_of(("a,b", "1")) != digest_of(("a", "b,1"))
    assert "secret" not in digest_of(("secret",))


def test_a_document_arrives_as_it_was_but_for_its_region() -> None:
    document = {"_id": Int64(1), "region": "eu", "n": 5, "in": {"region": "eu"}, "x": [1.5, None]}
    old = bson.encode(document)
    new = relocated(old, {"region": "a_longer_one", "missing": "x"})
    assert bson.decode(new) == {**document, "region": "a_longer_one"}
    assert relocated(new, {"region": "eu"}) == old
    assert content_digest([old], {"region"}) == content_digest([new], {"region"})
    other = bson.encode({**document, "n": Int64(5)})
    assert content_digest([old], {"region"}) != content_digest([other], {"region"})
    assert content_digest([old, old], set()) != content_digest([old], set())
