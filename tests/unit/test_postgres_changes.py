"""What is said of a table that changed; what can be created at the same time; catalogues."""

from __future__ import annotations

import pytest

from toolkit.findings import Code
from toolkit.journal import Chunk
from toolkit.postgres import catalogue
from toolkit.postgres.changes import Footprint, described, reshaped
from toolkit.postgres.putback import Task, startable, whole
from toolkit.postgres.takedown import Down

_COLUMNS = {"id": "bigint not null", "name": "text"}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Footprint("1 2", _COLUMNS), ""),
        (Footprint("1 3", _COLUMNS), "it was truncated or rewritten"),
        (Footprint("1 2", {**_COLUMNS, "name": "citext"}), "its columns changed: name"),
        (Footprint("1 2", {"id": "bigint not null"}), "its columns changed: name"),
        (Footprint(), "it is gone"),
    ],
)
def test_a_table_that_was_reshaped(now: Footprint, words: str) -> None:
    assert reshaped(Footprint("1 2", _COLUMNS), now) == words


def test_chunks_that_differ_are_counted_and_sampled() -> None:
    differing = [Chunk("postgres", "t", number) for number in range(12)]
    text = "12 chunk(s) differ: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
    assert described(differing, 7, 7) == text
    assert described(differing, 1000, 999) == f"{text}; 1,000 rows are 999 now"


def _down(kind: str, table: str, other: str | None = None) -> Down:
    return Down(1, kind, table, other, f"{kind} of {table}", "", "", {})


def test_what_locks_another_table_waits() -> None:
    index, other = whole(_down("index", "a")), whole(_down("index", "b"))
    key = whole(_down("foreign key", "b", "a"))
    proof = Task("a proof", frozenset({"b_eu"}), "")
    assert startable([index], []) == index
    assert startable([index], [index]) is None
    assert startable([index, other], [index]) == other
    assert startable([key], [index]) is None
    assert startable([index], [key]) is None
    assert startable([proof], [proof]) is None
    assert startable([proof], [index]) == proof
    assert startable([], [index]) is None


def test_catalogues_are_compared_object_by_object() -> None:
    planned = {
        "relations": {"client": "p p", "client_eu": "r p of @.client FOR VALUES IN ('eu')"},
        "indexes": {"client_eu_idx": "CREATE INDEX client_eu_idx ON @.client_eu (id)"},
        "constraints": {"client.pk": "PRIMARY KEY (id)", "client.fk": "FOREIGN KEY (a)"},
        "triggers": {"client.keep": "CREATE TRIGGER keep O"},
    }
    live = {
        "relations": {
            "client": "p p acl app=r/owner comment clients",
            "client_eu": "r p of @.client FOR VALUES IN ('eu') acl app=r/owner",
            "leftover": "r p",
        },
        "indexes": {"extra_idx": "CREATE INDEX extra_idx ON @.client (id)"},
        "constraints": {"client.pk": "PRIMARY KEY (id)", "client.fk": "FOREIGN KEY (a) NOT VALID"},
        "triggers": {},
    }
    assert catalogue.compare(planned, planned, "postgres") == []
    granted = {"relations": {"keys": "r p acl app=r/owner"}}
    assert catalogue.compare({"relations": {"keys": "r p"}}, granted, "postgres") == []
    closed = frozenset({"keys"})
    assert catalogue.compare({"relations": {"keys": "r p"}}, granted, "postgres", closed) != []
    found = {(one.code, one.keys) for one in catalogue.compare(planned, live, "postgres")}
    assert found == {
        (Code.catalogue_differs, ("client_eu",)),
        (Code.catalogue_differs, ("leftover",)),
        (Code.index_missing, ("client_eu_idx",)),
        (Code.catalogue_differs, ("client.fk",)),
        (Code.trigger_missing, ("client.keep",)),
    }
