"""Northwind, a database that nobody here wrote, on its whole way through both backends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.live.journey import Journey, northwind, query
from tests.live.support import DATA

REGIONAL = {"customers", "customer_customer_demo", "orders", "order_details"}
REGIONS = ("eu", "uk", "na", "sa")


@pytest.fixture(scope="module")
def journey(
    postgres_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("northwind")
    with northwind(postgres_url, mongo_url, folder) as journey:
        journey.done("generate")
        yield journey


@pytest.fixture(scope="module")
def migrated(journey: Journey) -> dict[str, Any]:
    """Apply and migrate; return what ``migrate`` says of each backend."""
    journey.done("apply")
    document = journey.done("migrate", "--output", "json").document
    assert document["dry_run"] is False
    return {result["backend"]: result for result in document["results"]}


@pytest.fixture(scope="module")
def collections(journey: Journey) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        yield client[journey.mongo_database]


@pytest.fixture(scope="module")
def wanted() -> dict[str, int]:
    lines = (DATA / "northwind" / "rowcounts.txt").read_text(encoding="utf-8").splitlines()
    counts = {table: int(rows) for table, rows in map(str.split, lines)}
    assert len(counts) == 14
    return counts


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_generate_is_deterministic(journey: Journey, tmp_path: Path) -> None:
    generated = files(journey.folder)
    assert {"migrations_sql", "migrations_nosql"} <= {name.split("/")[0] for name in generated}
    for name in ("regionkit.toml", "countries.csv"):
        (tmp_path / name).write_text(generated[name], encoding="utf-8")
    other = Journey(tmp_path, journey.source, journey.postgres, journey.mongo)
    result = other.run("generate", "--check")
    assert result.code == 3, result.err
    assert "next: " in result.err
    assert files(tmp_path).keys() == {"regionkit.toml", "countries.csv"}

    other.done("generate")
    assert files(tmp_path) == generated
    result = other.done("generate")
    assert "wrote" not in result.out
    assert files(tmp_path) == generated
    other.done("generate", "--check")

    # Another region is another schema. As nobody knows what was applied, nothing is overwritten.
    toml = (tmp_path / "regionkit.toml").read_text(encoding="utf-8")
    (tmp_path / "regionkit.toml").write_text(
        toml.replace("[regions]\n", "[regions]\nap = {}\n"), encoding="utf-8"
    )
    changed = files(tmp_path)
    for backend in ("postgres", "mongo"):
        for arguments in (("--check",), ()):
            result = other.run("generate", "--backend", backend, *arguments)
            assert (backend, result.code) == (backend, 9)
            assert "next: " in result.err
    assert files(tmp_path) == changed


def test_every_table_arrives(
    journey: Journey,
    migrated: dict[str, Any],
    wanted: dict[str, int],
    collections: Database[dict[str, Any]],
) -> None:
    for backend in ("postgres", "mongo"):
        said = {table: sum(rows.values()) for table, rows in migrated[backend]["counts"].items()}
        assert said == wanted
    for table, rows in wanted.items():
        assert journey.rows(f"SELECT count(*) FROM {table}") == [(rows,)], table
        names = [f"{table}_{region}" for region in REGIONS] if table in REGIONAL else [table]
        assert sum(collections[name].count_documents({}) for name in names) == rows, table


def test_exactly_four_tables_are_regional(
    journey: Journey, migrated: dict[str, Any], collections: Database[dict[str, Any]]
) -> None:
    partitioned = journey.rows(
        "SELECT c.relname, count(*) FROM pg_class c JOIN pg_inherits i ON i.inhparent = c.oid "
        "WHERE c.relkind = 'p' AND c.relnamespace = current_schema()::regnamespace GROUP BY 1"
    )
    assert dict(partitioned) == dict.fromkeys(REGIONAL, len(REGIONS))
    present = set(collections.list_collection_names(filter={"type": "collection"}))
    parts = {f"{table}_{region}" for table in REGIONAL for region in REGIONS}
    assert parts <= present
    assert not REGIONAL & present
    others = {name for name in present if name.rpartition("_")[2] in REGIONS}
    assert others == parts
    # Northwind's own table ``region`` is carried as it is, and is not the list of regions.
    assert journey.rows("SELECT count(*) FROM region") == [(4,)]
    assert collections["region"].count_documents({}) == 4


def test_every_order_detail_is_in_its_customers_region(
    journey: Journey, migrated: dict[str, Any], collections: Database[dict[str, Any]]
) -> None:
    column = journey.project.layout.region_column
    assert column != "region", "customers has a column of its own that is called region"
    of_country = dict(
        line.split(",")
        for line in (journey.folder / "countries.csv").read_text(encoding="utf-8").splitlines()[1:]
    )
    home = {
        customer: of_country[country]
        for customer, country in query(journey.source, "SELECT customer_id, country FROM customers")
    }
    assert set(home.values()) == set(REGIONS)
    of_order = {
        order: home[customer]
        for order, customer in query(journey.source, "SELECT order_id, customer_id FROM orders")
    }
    details = journey.rows(
        f"SELECT tableoid::regclass::text, {column}, order_id, product_id FROM order_details"
    )
    assert len(details) == 2155
    for leaf, region, order, _ in details:
        assert region == of_order[order]
        assert leaf == f"order_details_{region}"
    for region in REGIONS:
        found = list(collections[f"order_details_{region}"].find({}))
        assert {of_order[detail["_id"]["order_id"]] for detail in found} == {region}
        stray = list(
            collections[f"order_details_{region}"].aggregate(
                [
                    {
                        "$lookup": {
                            "from": f"orders_{region}",
                            "localField": "_id.order_id",
                            "foreignField": "_id",
                            "as": "order",
                            "pipeline": [
                                {
                                    "$lookup": {
                                        "from": f"customers_{region}",
                                        "localField": "customer_id",
                                        "foreignField": "_id",
                                        "as": "customer",
                                    }
                                }
                            ],
                        }
                    },
                    {"$match": {"order.customer._id": {"$exists": False}}},
                ]
            )
        )
        assert stray == []
    links = dict(journey.rows(f"SELECT customer_id, {column} FROM {journey.project.layout.link}"))
    assert links == home


def test_verify_finds_both_equal(
    journey: Journey, migrated: dict[str, Any], wanted: dict[str, int]
) -> None:
    document = journey.done("verify", "--output", "json").document
    assert document["schema_version"] == 1
    assert [result["equal"] for result in document["results"]] == [True, True]
    for result in document["results"]:
        compared = {table: sum(rows.values()) for table, rows in result["rows"].items()}
        assert compared == {**wanted, journey.project.layout.link: wanted["customers"]}
        assert "a quantity is positive" in result["invariants"]["held"]
        assert result["findings"] == []
    text = journey.done("verify")
    assert "equal to the source" in text.out


def test_a_second_migration_copies_nothing(
    journey: Journey, migrated: dict[str, Any], wanted: dict[str, int]
) -> None:
    link = journey.project.layout.link
    for backend in ("postgres", "mongo"):
        first = migrated[backend]
        assert first["copied"] == {**wanted, link: wanted["customers"]}
        assert sum(first["already"].values()) == 0
        assert first["resumed"] is False
    before = journey.catalogue(), journey.mongo_catalogue()
    for arguments in (("migrate",), ("migrate", "--resume")):
        document = journey.done(*arguments, "--output", "json").document
        for result in document["results"]:
            assert sum(result["copied"].values()) == 0
            assert result["already"] == {**wanted, link: wanted["customers"]}
            assert result["resumed"] is True
            assert {table: sum(rows.values()) for table, rows in result["counts"].items()} == wanted
    assert (journey.catalogue(), journey.mongo_catalogue()) == before
