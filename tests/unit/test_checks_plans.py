"""What a plan touched, read from plans as the servers print them, cut down."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.checks.plans import (
    Scan,
    Touched,
    Trace,
    confirmed,
    mongo_relations,
    mongo_trace,
    postgres_trace,
    touched,
    writes,
)

PARTS = {f"{table}_{code}": code for table in ("client", "account") for code in ("gl", "eu", "na")}
CODES = ("gl", "eu", "na")


def scan(kind: str, name: str, loops: int = 1, rows: float = 1, **more: Any) -> dict[str, Any]:
    return {
        "Node Type": kind,
        "Relation Name": name,
        "Schema": "bank_regional",
        "Actual Loops": loops,
        "Actual Rows": rows,
        **more,
    }


def plan(*nodes: dict[str, Any], **more: Any) -> Any:
    return [{"Plan": {"Node Type": "Append", "Actual Loops": 1, "Plans": list(nodes), **more}}]


def trace(explained: Any, **sizes: int) -> Trace:
    return postgres_trace(explained, "bank_regional", sizes)


# PostgreSQL ----------------------------------------------------------------------------------


def test_partitions_that_were_read_count_and_pruned_ones_do_not() -> None:
    found = trace(
        plan(
            scan("Index Scan", "client_eu", **{"Index Cond": "(id = 1)"}),
            scan("Index Scan", "client_na", loops=0, rows=0, **{"Index Cond": "(id = 1)"}),
            {
                "Node Type": "Nested Loop",
                "Actual Loops": 3,
                "Plans": [
                    {"Node Type": "Bitmap Index Scan", "Index Name": "x", "Actual Loops": 3},
                    scan("Bitmap Heap Scan", "account_eu", loops=3),
                ],
            },
            **{"Subplans Removed": 1},
        )
    )
    assert found.relations == ("client_eu", "account_eu")
    assert found.scans == ()
    assert touched(found, PARTS, CODES) == Touched(("eu",), ("client_eu", "account_eu"))


def test_a_table_of_another_schema_is_no_partition() -> None:
    found = trace(plan(scan("Seq Scan", "client_eu", Schema="bank")))
    assert found.relations == ("bank.client_eu",)
    assert touched(found, PARTS, CODES).regions == ()


def test_regions_come_in_the_order_of_the_topology() -> None:
    found = trace(plan(scan("Seq Scan", "client_na"), scan("Seq Scan", "account_gl")))
    assert touched(found, PARTS, CODES).regions == ("gl", "na")


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        (scan("Seq Scan", "t", rows=2, **{"Rows Removed by Filter": 1500}), (1502, "Seq Scan")),
        (scan("Seq Scan", "t", rows=2.0), (5000, "Seq Scan")),
        (scan("Index Only Scan", "t", rows=7, **{"Index Name": "i"}), (7, "all of i")),
        (
            scan("Index Scan", "t", **{"Index Cond": "(r = 'eu')", "Rows Removed by Filter": 1200}),
            (1201, "Index Scan that drops 1,200 rows"),
        ),
        (scan("Index Scan", "t", **{"Index Cond": "(id = 1)", "Rows Removed by Filter": 9}), None),
        (scan("Seq Scan", "t", loops=0), None),
    ],
)
def test_reading_without_an_index(node: dict[str, Any], wanted: tuple[int, str] | None) -> None:
    sizes = {"t": 5000} if wanted and wanted[0] == 5000 else {}
    found = trace(plan(node), **sizes)
    assert found.scans == ((Scan("t", *wanted),) if wanted else ())


def test_the_worst_scan_of_a_relation_is_kept() -> None:
    found = trace(plan(scan("Seq Scan", "t", rows=5), scan("Seq Scan", "t", rows=50)))
    assert found.scans == (Scan("t", 50, "Seq Scan"),)


def test_a_scan_that_an_index_could_replace_is_none() -> None:
    chosen = trace(plan(scan("Seq Scan", "a", rows=2000), scan("Seq Scan", "b", rows=2000)))
    forced = trace(
        plan(scan("Index Scan", "a", **{"Index Cond": "x"}), scan("Seq Scan", "b", rows=2000))
    )
    assert [found.relation for found in confirmed(chosen, forced).scans] == ["b"]


# MongoDB -------------------------------------------------------------------------------------


def cursor(collection: str, stage: dict[str, Any], examined: int) -> dict[str, Any]:
    return {
        "queryPlanner": {
            "namespace": f"bank.{collection}",
            "winningPlan": stage,
            "rejectedPlans": [{"stage": "COLLSCAN"}],
        },
        "executionStats": {"totalDocsExamined": examined, "nReturned": 1},
    }


FETCH = {"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "indexName": "i"}}
COLLSCAN = {"stage": "PROJECTION_SIMPLE", "inputStage": {"stage": "COLLSCAN"}}


def test_an_index_is_no_scan() -> None:
    found = mongo_trace({"stages": [{"$cursor": cursor("client_eu", FETCH, 1)}], "ok": 1.0}, ["x"])
    assert (found.relations, found.scans) == (("x",), ())
    assert "ok" not in found.plan


def test_a_collection_scan_in_the_cursor_and_in_a_union() -> None:
    found = mongo_trace(
        {
            "stages": [
                {"$cursor": cursor("client_eu", COLLSCAN, 12)},
                {
                    "$unionWith": {
                        "coll": "client_na",
                        "pipeline": [{"$cursor": cursor("client_na", COLLSCAN, 34)}],
                    }
                },
            ]
        },
        [],
    )
    assert set(found.scans) == {
        Scan("client_eu", 12, "COLLSCAN"),
        Scan("client_na", 34, "COLLSCAN"),
    }


@pytest.mark.parametrize(("scans", "wanted"), [(0, 0), (3, 1)])
def test_a_lookup_in_the_classic_engine(scans: int, wanted: int) -> None:
    lookup = {"$lookup": {"from": "account_eu"}, "collectionScans": scans, "totalDocsExamined": 99}
    found = mongo_trace({"stages": [{"$cursor": cursor("client_eu", FETCH, 1)}, lookup]}, [])
    assert len(found.scans) == wanted
    assert found.scans == (Scan("account_eu", 99, "$lookup without an index"),)[:wanted]


@pytest.mark.parametrize(
    ("strategy", "wanted"), [("IndexedLoopJoin", 0), ("HashJoin", 1), ("NestedLoopJoin", 1)]
)
def test_a_lookup_in_the_slot_based_engine(strategy: str, wanted: int) -> None:
    stage = {
        "queryPlan": {
            "stage": "EQ_LOOKUP",
            "foreignCollection": "bank.account_eu",
            "strategy": strategy,
            "inputStage": FETCH,
        },
        "slotBasedPlan": {"stages": "[3] nlj [s13] ... coscan"},
    }
    found = mongo_trace(cursor("client_eu", stage, 40), [])
    assert [one.relation for one in found.scans] == ["account_eu"] * wanted
    assert "slotBasedPlan" not in str(found.plan)
    assert found.plan["executionStats"] == {"totalDocsExamined": 40, "nReturned": 1}


VIEWS = {
    "client": ("client_gl", [{"$unionWith": "client_eu"}, {"$unionWith": {"coll": "client_na"}}]),
    "both": ("client", []),
}


@pytest.mark.parametrize(
    ("collection", "pipeline", "wanted"),
    [
        ("client_eu", [], ("client_eu",)),
        ("client", [], ("client_gl", "client_eu", "client_na")),
        ("both", [], ("client_gl", "client_eu", "client_na")),
        (
            "client_eu",
            [
                {"$lookup": {"from": "account_eu", "pipeline": [{"$lookup": {"from": "card_eu"}}]}},
                {"$facet": {"a": [{"$graphLookup": {"from": "tree"}}]}},
                {"$unionWith": {"coll": "client"}},
                {"$match": {"from": "nowhere", "coll": "nothing"}},
            ],
            ("client_eu", "account_eu", "card_eu", "tree", "client_gl", "client_na"),
        ),
        ("client_eu", [{"$lookup": {"from": {"db": "local", "coll": "x"}}}], ("client_eu",)),
    ],
)
def test_what_an_aggregation_names(
    collection: str, pipeline: list[Any], wanted: tuple[str, ...]
) -> None:
    assert mongo_relations(collection, pipeline, VIEWS) == wanted


@pytest.mark.parametrize(
    ("pipeline", "wanted"),
    [([{"$match": {}}], False), ([{"$out": "x"}], True), ([{"$merge": {"into": "x"}}], True)],
)
def test_an_aggregation_that_would_write(pipeline: list[Any], wanted: bool) -> None:
    assert writes(pipeline) is wanted
