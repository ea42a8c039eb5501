"""Which cells the documents of a table have; every change of a document alters its digest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from tests.unit.test_mongo_rows import COLLECTIONS, LAYOUT, ROWS, documents
from toolkit.mongo import record
from toolkit.mongo.digest import Cells, places
from toolkit.mongo.expected import Expected
from toolkit.mongo.scanner import Scanner


def of(name: str) -> Expected:
    """What the documents of the first region look like."""
    _, expected = next(Cells(LAYOUT, COLLECTIONS, name).places())
    return expected


def digest(expected: Expected, document: dict[str, Any]) -> str:
    ((form,), _) = Scanner(expected).forms(b"\x030\0" + bson.encode(document))
    assert form == expected.form(bson.encode(document))
    return record.row_digest(form)


@pytest.mark.parametrize("name", ROWS)
def test_what_the_copier_writes_has_the_expected_form(name: str) -> None:
    rows = 0
    for collection, expected in Cells(LAYOUT, COLLECTIONS, name).places():
        found = [bson.encode(one) for one in documents(name).get(collection, [])]
        batch = b"".join(b"\x03%d\0" % number + one for number, one in enumerate(found))
        forms, odd = Scanner(expected).forms(batch)
        assert (len(forms), odd) == (len(found), 0)
        rows += len(forms)
    assert rows == len(ROWS[name])


def test_cells_stand_in_the_order_of_the_source() -> None:
    cells = Cells(LAYOUT, COLLECTIONS, "transfer")
    (document,) = documents("transfer")["transfer_eu"]
    form = of("transfer").form(bson.encode(document))
    assert record.texts(form) == ["7", "1", "2", "eu", "us"]
    assert cells.expressions() == ['(t."id")::int8', '(t."payer")::int8', '(t."payee")::int8']
    assert cells.columns == ("id", "payer", "payee")
    assert (cells.expected.region_cell, cells.expected.key_cells) == (3, (0,))
    assert cells.key_text({"_id": document["_id"]}) == "7"
    assert Cells(LAYOUT, COLLECTIONS, "plan").expected.region_cell is None
    note = Cells(LAYOUT, COLLECTIONS, "note").expected
    assert (note.key, note.key_cells) == ((), (0,))


@pytest.mark.parametrize(
    "change",
    [
        {"odd": None},
        {"payee": Int64(3)},
        {"payee": None},
        {"payee_region": None},
        {"region": "us"},
        {"region": None},
        {"region": 1},
        {"payer": 1},
        {"payer": Decimal128("1")},
        {"payer": datetime(2024, 1, 1, tzinfo=UTC)},
    ],
    ids=str,
)
def test_every_change_alters_the_digest(change: dict[str, Any]) -> None:
    (document,) = documents("transfer")["transfer_eu"]
    assert digest(of("transfer"), {**document, **change}) != digest(of("transfer"), document)


@pytest.mark.parametrize("field", ["region", "payer", "payee", "payee_region"])
def test_a_missing_field_is_not_null(field: str) -> None:
    _, expected = list(Cells(LAYOUT, COLLECTIONS, "transfer").places())[1]
    (document,) = documents("transfer")["transfer_us"]
    missing = {name: value for name, value in document.items() if name != field}
    digests = {digest(expected, one) for one in (document, missing, {**document, field: None})}
    assert len(digests) == (3 if document[field] is not None else 2)


@pytest.mark.parametrize(
    "identity",
    [
        {"line": 1, "client_id": Int64(2)},
        {"client_id": Int64(2)},
        {"client_id": Int64(2), "line": 1, "more": 1},
        {"client_id": Int64(2), "line": Int64(1)},
        Int64(2),
        None,
    ],
    ids=str,
)
def test_a_key_of_another_form_alters_the_digest(identity: Any) -> None:
    _, expected = list(Cells(LAYOUT, COLLECTIONS, "visit").places())[1]
    (document,) = documents("visit")["visit_us"]
    assert digest(expected, {**document, "_id": identity}) != digest(expected, document)


def test_a_counter_of_another_type_alters_the_digest() -> None:
    expected = of("client_region")
    link, *_ = documents("client_region")["client_region"]
    same = digest(expected, {**link, "epoch": Int64(5)})
    assert digest(expected, link) == same
    assert digest(expected, {**link, "epoch": 5}) != same


def test_the_order_of_fields_does_not_count() -> None:
    """A field that was taken away and set again stands last."""
    (document,) = documents("transfer")["transfer_eu"]
    turned = {"_id": document["_id"], **dict(reversed(document.items()))}
    assert digest(of("transfer"), turned) == digest(of("transfer"), document)


def test_places() -> None:
    assert places(LAYOUT, COLLECTIONS, "plan") == [("plan", None)]
    assert places(LAYOUT, COLLECTIONS, "client_region") == [("client_region", None)]
    assert places(LAYOUT, COLLECTIONS, "note") == [("note_eu", "eu"), ("note_us", "us")]
