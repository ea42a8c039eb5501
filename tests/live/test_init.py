"""Any database: looked at, decided by its data, and taken to the end without an edit by hand."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.live.journey import Journey, drop_mongo, execute, namespaces, query
from tests.live.support import ROOT, SAMPLES, Result, binary, database, load_sample, regionkit

_LANDS = "value,region\nDE,eu\nFR,eu\nUS,na\n"


@contextmanager
def source(postgres_url: str, *statements: str) -> Iterator[str]:
    """Yield the URL of a database in which statements were run."""
    with database(postgres_url) as url:
        execute(url, *statements)
        yield url


def init(folder: Path, url: str, *arguments: str, mongo: str = "") -> Result:
    """Run init beside the project's folder, which is called ``project``."""
    env = {"REGIONKIT_SOURCE_URL": url, "REGIONKIT_MONGO_URL": mongo}
    return regionkit("init", "--out", "project", *arguments, env=env, cwd=folder)


def again(folder: Path, url: str, *arguments: str) -> Result:
    """Run init once more in the same project."""
    return init(folder, url, "--yes", *arguments)


def read(folder: Path, name: str = "regionkit.toml") -> str:
    return (folder / "project" / name).read_text(encoding="utf-8")


def placement(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(read(folder)).get("placement", {})
    return found


def decide(folder: Path, lines: str) -> None:
    """Add lines to regionkit.toml, as an operator does."""
    with (folder / "project" / "regionkit.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{lines}\n")


def to_the_end(folder: Path, url: str, mongo_url: str) -> Journey:
    """Go from generate to verify on both backends; return the journey."""
    journey = Journey(folder / "project", url, url, mongo_url)
    try:
        for command in ("generate", "apply", "migrate"):
            journey.done(command)
        results = journey.done("verify", "--output", "json").document["results"]
        assert [(one["equal"], one["findings"]) for one in results] == [(True, []), (True, [])]
    finally:
        drop_mongo(mongo_url, journey.mongo_database)
    return journey


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file but the report, which tells one look from another."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "init-report.md"
    }


# Databases that nobody here wrote ------------------------------------------------------------


def northwind(url: str, folder: Path) -> tuple[str, ...]:
    load_sample("northwind", url)
    path = SAMPLES / "northwind" / "countries.csv"
    return "--root", "customers", "--region-by", "country", "--map", str(path)


def chinook(url: str, folder: Path) -> tuple[str, ...]:
    load_sample("chinook", url)
    lands = [row[0] for row in query(url, "SELECT DISTINCT country FROM customer ORDER BY 1")]
    lines = [f"{land},{'eu' if at % 2 else 'us'}" for at, land in enumerate(lands)]
    (folder / "lands.csv").write_text("\n".join(["country,region", *lines]), encoding="utf-8")
    return "--root", "customer", "--region-by", "country", "--map", "lands.csv"


def pgbench(url: str, folder: Path) -> tuple[str, ...]:
    run_pgbench(url, "--foreign-keys")
    (folder / "branches.csv").write_text("value,region\n1,eu\n2,us\n", encoding="utf-8")
    return "--root", "pgbench_accounts", "--region-by", "bid", "--map", "branches.csv"


def run_pgbench(url: str, *arguments: str) -> None:
    """Make what ``pgbench -i -s 2`` makes, with a fiftieth of the accounts, and some history."""
    steps = "dtpf" if "--foreign-keys" in arguments else "dtp"
    subprocess.run(
        [binary("pgbench"), "-q", "-i", "-I", steps, url], check=True, capture_output=True
    )
    execute(
        url,
        "INSERT INTO pgbench_branches (bid, bbalance) SELECT n, 0 FROM generate_series(1, 2) n",
        "INSERT INTO pgbench_tellers (tid, bid, tbalance) "
        "SELECT n, 1 + (n - 1) / 10, 0 FROM generate_series(1, 20) n",
        "INSERT INTO pgbench_accounts (aid, bid, abalance, filler) "
        "SELECT 50 * n, 1 + (n - 1) / 2000, 0, '' FROM generate_series(1, 4000) n",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) "
        "SELECT 1 + n % 20, 1 + n % 2, 50 * (1 + n), n, '2025-01-01' FROM generate_series(1, 90) n",
    )


@pytest.mark.parametrize(
    ("load", "regional", "stated"),
    [
        (
            northwind,
            {"customers", "customer_customer_demo", "orders", "order_details"},
            {"us_states": {"kind": "global"}},
        ),
        (chinook, {"customer", "invoice", "invoice_line"}, {}),
        (pgbench, {"pgbench_accounts", "pgbench_history"}, {}),
    ],
    ids=["northwind", "chinook", "pgbench"],
)
def test_goes_from_init_to_verify_without_an_edit(
    load: Any,
    regional: set[str],
    stated: Mapping[str, Any],
    postgres_url: str,
    mongo_url: str,
    tmp_path: Path,
) -> None:
    with database(postgres_url) as url:
        arguments = load(url, tmp_path)
        before = namespaces(url)
        result = init(tmp_path, url, *arguments, mongo=mongo_url)
        assert result.code == 0, result.err
        assert "next: cd project && regionkit generate" in result.err
        assert namespaces(url) == before
        assert placement(tmp_path) == stated
        assert {path.name for path in (tmp_path / "project").iterdir()} >= {
            "regionkit.toml",
            "schema.py",
            "extras.sql",
            "init-report.md",
            "migrations_sql",
            "migrations_nosql",
        }
        written = contents(tmp_path / "project")
        journey = to_the_end(tmp_path, url, mongo_url)
        assert set(journey.project.layout.placement.regional) == regional
        assert contents(tmp_path / "project").items() >= written.items()
        # The layout now stands beside the source, and is no table of the operator's.
        result = again(tmp_path, url)
        assert (result.code, "changed:" in result.err) == (0, False), result.err
        assert contents(tmp_path / "project").items() >= written.items()


def test_tables_without_foreign_keys_are_undecided_until_stated(
    postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    with database(postgres_url) as url:
        run_pgbench(url)
        (tmp_path / "branches.csv").write_text("value,region\n1,eu\n2,us\n", encoding="utf-8")
        arguments = ("--root", "pgbench_accounts", "--region-by", "bid", "--map", "branches.csv")
        result = init(tmp_path, url, *arguments, mongo=mongo_url)
        assert result.code == 9
        assert "3 thing(s) are to be decided" in result.err
        assert '[placement.pgbench_history] owner = "pgbench_accounts via aid"' in result.err
        assert '[placement.pgbench_tellers] kind = "global"' in result.err
        assert placement(tmp_path) == {}
        journey = Journey(tmp_path / "project", url, url, mongo_url)
        refused = journey.run("generate")
        assert (refused.code, "3 table(s) are undecided" in refused.err) == (9, True)

        # An owner that the data contradict is noticed.
        decide(tmp_path, '[placement.pgbench_branches]\nkind = "global"')
        decide(tmp_path, '[placement.pgbench_tellers]\nowner = "pgbench_accounts via tid"')
        decide(tmp_path, '[placement.pgbench_history]\nowner = "pgbench_accounts via aid"')
        result = again(tmp_path, url)
        assert result.code == 9
        assert "owner: tid leads to no row of pgbench_accounts in 20 rows" in result.err

        toml = read(tmp_path).replace('owner = "pgbench_accounts via tid"', 'kind = "global"')
        (tmp_path / "project" / "regionkit.toml").write_text(toml, encoding="utf-8")
        assert again(tmp_path, url).code == 0
        assert read(tmp_path) == toml
        to_the_end(tmp_path, url, mongo_url)


# What the data decide ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank(postgres_url: str) -> Iterator[str]:
    text = (SAMPLES / "init" / "bank.sql").read_text(encoding="utf-8")
    with source(postgres_url, text) as url:
        yield url


def look(folder: Path, url: str, *arguments: str) -> Result:
    (folder / "lands.csv").write_text(_LANDS, encoding="utf-8")
    path = ("--region-by", "branch_id.country_code", "--map", "lands.csv")
    return init(folder, url, "--root", "client", *path, *arguments)


def test_the_data_decide_what_foreign_keys_cannot_tell(
    bank: str, mongo_url: str, tmp_path: Path
) -> None:
    result = look(tmp_path, bank)
    assert result.code == 9
    assert "1 thing(s) are to be decided" in result.err
    assert placement(tmp_path) == {
        "client": {"same_region": ["address_id", "default_account_id"]},
        "address": {"owned_through": "client via address_id"},
        "account": {"owned_through": "mandate via account_id"},
        "mandate": {"same_region": ["account_id"]},
        "card": {"home": "client_id", "same_region": ["account_id"]},
        "payment": {"home": "account_id", "same_region": ["card_id"]},
        "gift": {"home": "giver"},
        "holiday": {"kind": "global"},
    }
    # Two owners with equal right: never picked.
    assert "from_account and to_account lead to different clients in" in result.err
    choice = '[placement.transfer]\nhome = "from_account"'
    assert "\n# ".join(["", *choice.splitlines()]) in read(tmp_path)
    decide(tmp_path, choice)
    toml = read(tmp_path).replace("[target.mongo]", "[target.mongo]\nallow_single_member = true")
    (tmp_path / "project" / "regionkit.toml").write_text(toml, encoding="utf-8")

    result = again(tmp_path, bank, "--output", "json")
    assert result.code == 0, result.err
    assert read(tmp_path) == toml
    report = result.document
    assert report["schema_version"] == 1
    crossing = {
        (one["table"], *one["columns"]): one
        for one in report["references"]
        if one["role"] == "foreign reference"
    }
    assert crossing.keys() == {
        ("client", "referred_by"),
        ("gift", "taker"),
        ("transfer", "to_account"),
    }
    regions = dict(
        query(
            bank,
            "SELECT c.id, CASE country_code WHEN 'US' THEN 'na' ELSE 'eu' END "
            "FROM client c JOIN branch b ON b.id = c.branch_id",
        )
    )
    gifts = query(bank, "SELECT giver, taker FROM gift WHERE taker IS NOT NULL")
    assert crossing["gift", "taker"]["rows"] == len(gifts)
    assert crossing["gift", "taker"]["other_client"] == sum(one != two for one, two in gifts)
    assert crossing["gift", "taker"]["other_region"] == sum(
        regions[one] != regions[two] for one, two in gifts
    )
    assert 0 < crossing["gift", "taker"]["other_region"] < len(gifts)
    clients = {code: one["clients"] for code, one in report["regions"].items()}
    assert clients == {code: list(regions.values()).count(code) for code in ("eu", "na")}
    outcomes = {one["name"]: one["outcome"] for one in report["uniques"]}
    assert outcomes["client_email_key"].startswith("over all regions: kept by")
    assert all(one["bytes"] > 0 for one in report["regions"].values())
    to_the_end(tmp_path, bank, mongo_url)


_CLIENTS = """
CREATE TABLE client (id int PRIMARY KEY, land text);
INSERT INTO client SELECT n, CASE n % 3 WHEN 0 THEN 'US' ELSE 'DE' END FROM generate_series(1, 9) n;
"""


@pytest.mark.parametrize(
    ("statements", "expected", "asked"),
    [
        pytest.param(
            "CREATE TABLE thing (id int PRIMARY KEY);"
            "ALTER TABLE client ADD thing_id int REFERENCES thing;"
            "INSERT INTO thing SELECT generate_series(1, 4);"
            "UPDATE client SET thing_id = 1 + id % 4",
            {},
            (),
            id="a table that clients share is global",
        ),
        pytest.param(
            "CREATE TABLE thing (id int PRIMARY KEY);"
            "ALTER TABLE client ADD thing_id int REFERENCES thing;"
            "INSERT INTO thing SELECT generate_series(1, 10);"
            "UPDATE client SET thing_id = id",
            {},
            (),
            id="a row that nobody refers to keeps a table global",
        ),
        pytest.param(
            "CREATE TABLE person (id int PRIMARY KEY); INSERT INTO person SELECT id FROM client;"
            "ALTER TABLE client ADD FOREIGN KEY (id) REFERENCES person",
            {
                "person": {"owned_through": "client via id"},
                "client": {"same_region": ["id"]},
            },
            (),
            id="the client's supertype goes with it",
        ),
        pytest.param(
            "CREATE TABLE account (id int PRIMARY KEY);"
            "CREATE TABLE mandate (client_id int REFERENCES client, account_id int "
            "REFERENCES account, PRIMARY KEY (client_id, account_id));"
            "CREATE TABLE payment (id int PRIMARY KEY, account_id int REFERENCES account);"
            "INSERT INTO account SELECT generate_series(1, 5);"
            "INSERT INTO mandate SELECT id, 1 + id % 5 FROM client",
            {},
            (),
            id="accounts that several clients hold are global",
        ),
        pytest.param(
            "CREATE TABLE card (id int PRIMARY KEY, client_id int NOT NULL REFERENCES client);"
            "CREATE TABLE payment (id int PRIMARY KEY, client_id int REFERENCES client, "
            "card_id int NOT NULL REFERENCES card);"
            "INSERT INTO card SELECT id, id FROM client;"
            "INSERT INTO payment SELECT id, CASE WHEN id > 3 THEN id END, id FROM client",
            {"payment": {"home": "card_id", "same_region": ["client_id"]}},
            (),
            id="the way that is always there is the way home",
        ),
        pytest.param(
            "CREATE TABLE card (id int PRIMARY KEY, client_id int NOT NULL REFERENCES client);"
            "CREATE TABLE sale (id int PRIMARY KEY, client_id int NOT NULL REFERENCES client, "
            "card_id int NOT NULL REFERENCES card);"
            "INSERT INTO card SELECT id, id FROM client;"
            "INSERT INTO sale SELECT id, id, 1 + id % 9 FROM client",
            {"sale": {"home": "client_id"}},
            (),
            id="the shorter way goes before one that leads elsewhere",
        ),
        pytest.param(
            "CREATE TABLE note (id int PRIMARY KEY, client_id int REFERENCES client);"
            "INSERT INTO note SELECT id, CASE WHEN id > 2 THEN id END FROM client",
            {},
            ("2 rows of 9 belong to no client: client_id is NULL",),
            id="rows without a client are asked about",
        ),
        pytest.param(
            "CREATE TABLE visit (id int PRIMARY KEY, client_id int);"
            "CREATE TABLE part (id int PRIMARY KEY, visit_id int REFERENCES visit);"
            "INSERT INTO visit SELECT id, id FROM client",
            {},
            ("no foreign key connects it with client; it could follow client via client_id",),
            id="an island that could be somebody's is asked about",
        ),
        pytest.param(
            "CREATE TABLE zone (id int PRIMARY KEY, title text);"
            "CREATE TABLE price (zone_id int REFERENCES zone, amount int)",
            {"zone": {"kind": "global"}, "price": {"kind": "global"}},
            (),
            id="an island that is nobody's is global",
        ),
        pytest.param(
            "CREATE TABLE a (id int PRIMARY KEY, client_id int REFERENCES client);"
            "CREATE TABLE b (id int PRIMARY KEY, client_id int REFERENCES client, "
            "a_id int NOT NULL REFERENCES a);"
            "ALTER TABLE a ADD b_id int NOT NULL REFERENCES b DEFERRABLE INITIALLY DEFERRED;"
            "INSERT INTO a SELECT id, id, id FROM client;"
            "INSERT INTO b SELECT id, CASE WHEN id > 1 THEN id END, id FROM client;"
            "UPDATE a SET client_id = NULL WHERE id = 2",
            None,
            ("client_id is NULL",),
            id="two tables do not follow each other",
        ),
        pytest.param(
            "CREATE TABLE sub (id int, no int, client_id int REFERENCES client, "
            "PRIMARY KEY (id, no));"
            "CREATE TABLE leaf (id int PRIMARY KEY, a int, b int, c int REFERENCES client, "
            "FOREIGN KEY (a, b) REFERENCES sub);"
            "INSERT INTO sub SELECT id, 1, id FROM client;"
            "INSERT INTO leaf SELECT id, id, 1, id FROM client",
            {"leaf": {"home": "c", "same_region": [["a", "b"]]}},
            (),
            id="composite keys",
        ),
        pytest.param(
            "CREATE TABLE kind (id int PRIMARY KEY);"
            "CREATE TABLE a (id int PRIMARY KEY, client_id int NOT NULL REFERENCES client);"
            "CREATE TABLE b (id int PRIMARY KEY, a_id int NOT NULL REFERENCES a, "
            "kind_id int NOT NULL REFERENCES kind);"
            "CREATE TABLE c (id int PRIMARY KEY, b_id int NOT NULL REFERENCES b, "
            "kind_id int NOT NULL REFERENCES kind);"
            "INSERT INTO kind SELECT id FROM client; INSERT INTO a SELECT id, id FROM client;"
            "INSERT INTO b SELECT id, id, id FROM client;"
            "INSERT INTO c SELECT id, id, id FROM client",
            {
                "kind": {"owned_through": "b via kind_id"},
                "b": {"home": "a_id", "same_region": ["kind_id"]},
                "c": {"home": "b_id", "same_region": ["kind_id"]},
            },
            (),
            id="a table that is owned through others is no short cut for them",
        ),
        pytest.param(
            "CREATE TABLE account (id int PRIMARY KEY);"
            "CREATE TABLE holding (id int PRIMARY KEY, client_id int NOT NULL REFERENCES client, "
            "account_id int NOT NULL REFERENCES account, UNIQUE (account_id, client_id));"
            "CREATE TABLE payment (id int PRIMARY KEY, client_id int NOT NULL REFERENCES client, "
            "payee int NOT NULL REFERENCES account);"
            "INSERT INTO account SELECT id FROM client;"
            "INSERT INTO holding SELECT id, id, id FROM client;"
            "INSERT INTO payment SELECT id, id, 10 - id FROM client",
            {
                "account": {"owned_through": "holding via account_id"},
                "holding": {"same_region": ["account_id"]},
                "payment": {"home": "client_id"},
            },
            (),
            id="others may refer to what a link table owns",
        ),
        pytest.param(
            "CREATE TABLE address (id int PRIMARY KEY);"
            "CREATE TABLE contact (id int PRIMARY KEY, address_id int REFERENCES address);"
            "ALTER TABLE client ADD contact_id int REFERENCES contact;"
            "INSERT INTO address SELECT id FROM client;"
            "INSERT INTO contact SELECT id, id FROM client;"
            "UPDATE client SET contact_id = id",
            {
                "client": {"same_region": ["contact_id"]},
                "contact": {
                    "owned_through": "client via contact_id",
                    "same_region": ["address_id"],
                },
                "address": {"owned_through": "contact via address_id"},
            },
            (),
            id="what belongs to a client by way of what belongs to it",
        ),
        pytest.param(
            "CREATE TABLE twice (id int PRIMARY KEY, client_id int REFERENCES client, "
            "CONSTRAINT again FOREIGN KEY (client_id) REFERENCES client);"
            "INSERT INTO twice SELECT id, id FROM client",
            {},
            (),
            id="a foreign key that is declared twice",
        ),
        pytest.param(
            "CREATE TABLE pair (id int PRIMARY KEY, one int REFERENCES client, "
            "two int REFERENCES client)",
            {},
            ("lead to the clients equally well, and no row tells them apart",),
            id="an empty table with two owners is asked about",
        ),
    ],
)
def test_decides_or_asks(
    statements: str,
    expected: Mapping[str, Any] | None,
    asked: tuple[str, ...],
    postgres_url: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "lands.csv").write_text("land,region\nDE,eu\nUS,na\n", encoding="utf-8")
    extra = "CREATE TABLE other (id int PRIMARY KEY, client_id int REFERENCES client)"
    with source(postgres_url, _CLIENTS, extra, statements) as url:
        rule = ("--root", "client", "--region-by", "land", "--map", "lands.csv")
        result = init(tmp_path, url, *rule)
        assert result.code == (9 if asked else 0), result.err
        for text in asked:
            assert text in result.err
        if expected is not None:
            assert placement(tmp_path) == expected
        journey = Journey(tmp_path / "project", url, url)
        generated = journey.run("generate")
        # What was asked about rows is refused by migrate, what was asked about tables by generate.
        assert generated.code in ((0, 9) if asked else (0,)), generated.err
        assert "1 mistake" not in generated.err


# What is asked for ---------------------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("arguments", "files", "code", "said"),
    [
        ((), {}, 2, ["which table holds the clients", "client: ", "--root client --region-by"]),
        (
            ("--root", "clint"),
            {},
            2,
            [
                "no such table (near: public.client",
            ],
        ),
        (("--root", "client"), {}, 2, ["exactly one of --region-by", "branch_id.country_code"]),
        (
            ("--root", "client", "--region-by", "branch.country_code", "--map", "m.csv"),
            {"m.csv": _LANDS},
            2,
            ["'branch' is no column of 'client' (near: branch_id)"],
        ),
        (
            ("--root", "client", "--region-by", "branch_id.country", "--map", "m.csv"),
            {"m.csv": _LANDS},
            2,
            ["'branch' has no column 'country' (near: country_code)"],
        ),
        (
            ("--root", "client", "--region-by", "branch_id.country_code"),
            {},
            2,
            ["--region-by needs --map", "'DE' (10), 'FR' (10), 'US' (10)"],
        ),
        (
            ("--root", "client", "--region-by", "branch_id.country_code", "--map", "m.csv"),
            {"m.csv": "value,region\nDE,EU\nFR,eu\nFR,na\nx\n"},
            2,
            [
                "line 5 has not 2 columns",
                "line 2: 'EU' is no region code",
                "1 line(s) repeat an earlier one: 4 (as 3)",
                "it misses 2 value(s) of branch_id.country_code, with their clients: 'DE' (10), "
                "'US' (10)",
                "from_account and to_account",
            ],
        ),
        (
            ("--root", "client", "--region-by", "branch_id.country_code", "--map", "m.csv"),
            {"m.csv": "value,region\nFR,eu\n"},
            9,
            ["it misses 2 value(s)", "'DE' (10), 'US' (10)", "from_account and to_account"],
        ),
        (
            (
                "--root",
                "client",
                "--region-sql",
                "CASE WHEN root.id > 5 THEN 'EU' WHEN root.id > 2 THEN 'na' END",
            ),
            {},
            9,
            [
                "it gives 1 value(s) that are no region codes, for clients: 'EU' (25)",
                "2 client(s) have no region",
            ],
        ),
        (
            ("--root", "client", "--region-sql", "root.nothing"),
            {},
            2,
            ["[root.region] sql cannot be evaluated"],
        ),
        (
            ("--root", "client", "--clients", "c.csv"),
            {"c.csv": "id,region\n1,eu\n2,na\n1,eu\n"},
            2,
            ["1 line(s) repeat an earlier one: 4 (as 2)"],
        ),
        (
            ("--root", "client", "--clients", "c.csv"),
            {"c.csv": "id,region\n1,eu\n2,na\n"},
            9,
            ["28 client(s) have no region: the list does not name them"],
        ),
        (("--root", "client", "--schema", "publik"), {}, 2, ["--schema publik", "near: public"]),
    ],
)
def test_bad_input_is_named_all_at_once(
    arguments: tuple[str, ...],
    files: Mapping[str, str],
    code: int,
    said: list[str],
    bank: str,
    tmp_path: Path,
) -> None:
    for name, text in files.items():
        write(tmp_path, name, text)
    result = init(tmp_path, bank, *arguments)
    assert result.code == code, result.err
    for text in said:
        assert text in result.err
    assert "next: " in result.err
    # Where something is only to be decided, the project is there to be edited.
    assert (tmp_path / "project" / "regionkit.toml").is_file() == (code == 9)
    assert (tmp_path / "project").exists() == (code == 9)


def test_clients_without_a_region_are_listed_in_private(postgres_url: str, tmp_path: Path) -> None:
    write(tmp_path, "m.csv", "value,region\nDE,eu\nUS,na\n")
    rule = ("--root", "client", "--region-by", "land", "--map", "m.csv")
    with source(postgres_url, _CLIENTS, "UPDATE client SET land = NULL WHERE id IN (2, 7)") as url:
        result = init(tmp_path, url, *rule)
        assert result.code == 9
        assert "2 client(s) have no region: land is NULL" in result.err
        path = tmp_path / "project" / ".regionkit" / "keys" / "without-region.csv"
        assert path.read_text(encoding="utf-8").split() == ["id", "2", "7"]
        assert path.stat().st_mode & 0o777 == 0o600
        execute(url, "UPDATE client SET land = 'DE' WHERE land IS NULL")
        assert again(tmp_path, url).code == 0
        assert not path.exists()


def test_a_list_of_clients_is_copied_in_private(postgres_url: str, tmp_path: Path) -> None:
    lines = "".join(f"{n},{'eu' if n % 2 else 'na'}\n" for n in range(1, 11))
    write(tmp_path, "c.csv", f"id,region\n{lines}")
    extra = "CREATE SCHEMA other; CREATE TABLE other.thing (id int)"
    with source(postgres_url, _CLIENTS, extra) as url:
        rule = ("--root", "client", "--clients", "c.csv", "--schema", "public")
        assert init(tmp_path, url, *rule).code == 0
        copy = tmp_path / "project" / "c.csv"
        assert copy.read_text(encoding="utf-8") == f"id,region\n{lines}"
        assert copy.stat().st_mode & 0o777 == 0o600
        report = read(tmp_path, "init-report.md")
        assert "c.csv: 1 line(s) name no row of client" in report
        assert "schema other: its 1 table(s) were not read" in report
        result = again(tmp_path, url, "--schema", "other")
        assert result.code == 2
        assert "--schema: regionkit.toml says otherwise" in result.err


def test_a_root_without_a_key_and_several_of_one_name(postgres_url: str, tmp_path: Path) -> None:
    write(tmp_path, "m.csv", "value,region\nDE,eu\n")
    statements = (
        "CREATE SCHEMA sales; CREATE SCHEMA hr",
        "CREATE TABLE sales.person (id int PRIMARY KEY, land text)",
        "CREATE TABLE hr.person (id int, land text)",
        "CREATE TABLE hr.note (id int PRIMARY KEY, person_id int REFERENCES sales.person)",
        "INSERT INTO sales.person VALUES (1, 'DE'), (2, 'DE')",
        "INSERT INTO hr.note VALUES (1, 1)",
    )
    rule = ("--region-by", "land", "--map", "m.csv")
    with source(postgres_url, *statements) as url:
        result = init(tmp_path, url, "--root", "person", *rule)
        assert result.code == 2
        assert "--root person: there are several: hr.person, sales.person" in result.err
        result = init(tmp_path, url, "--root", "hr.person", *rule)
        assert result.code == 2
        assert "it has no primary key" in result.err
        result = init(tmp_path, url, "--root", "sales.person", *rule)
        assert result.code == 0, result.err
        raw = tomllib.loads(read(tmp_path))
        assert raw["source"]["schema"] == "sales"
        assert raw["source"]["schemas"] == ["hr"]
        assert raw["root"]["table"] == "person"
        assert raw["placement"] == {"hr.person": {"kind": "global"}}
        assert "| hr.note" in read(tmp_path, "init-report.md")


def test_needs_no_more_than_to_read(bank: str, tmp_path: Path) -> None:
    role = "init_reader"
    execute(bank, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD 'canary-7'")
    head, _, rest = bank.partition("//")
    url = f"{head}//{role}:canary-7@{rest.partition('@')[2]}"
    grants = [f"GRANT SELECT ON {table} TO {role}" for table in ("client", "branch")]
    execute(bank, f"GRANT USAGE ON SCHEMA public TO {role}", *grants)
    try:
        write(tmp_path, "lands.csv", "value,region\nDE,eu\nFR,eu\n")
        path = ("--region-by", "branch_id.country_code", "--map", "lands.csv")
        result = init(tmp_path, url, "--root", "client", *path)
        assert result.code == 9
        assert "transfer: this role may not read it" in result.err
        assert "account: this role may not read it" in result.err
        # All of it at once: what can be asked is asked.
        assert not (tmp_path / "project").exists()
        execute(bank, f"GRANT SELECT ON country TO {role}")
        result = init(tmp_path, url, "--root", "client", *path)
        assert "it misses 1 value(s)" in result.err
        execute(
            bank,
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
            "ALTER TABLE card ENABLE ROW LEVEL SECURITY",
        )
        result = init(tmp_path, url, "--root", "client", *path)
        assert result.code == 9
        assert "card: row-level security hides rows of it from this role" in result.err
        execute(bank, "ALTER TABLE card DISABLE ROW LEVEL SECURITY")
        result = look(tmp_path, url)
        assert "1 thing(s) are to be decided" in result.err
        assert placement(tmp_path)["account"] == {"owned_through": "mandate via account_id"}
        for text in (result.out, result.err, *map(str, contents(tmp_path / "project").values())):
            assert "canary-7" not in text
    finally:
        execute(bank, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_names_a_source_that_does_not_answer(tmp_path: Path) -> None:
    result = init(
        tmp_path, "postgresql://somebody:canary-8@127.0.0.1:1/nowhere", "--root", "client"
    )
    assert result.code == 7
    assert "canary-8" not in result.err


# Once more -----------------------------------------------------------------------------------


def test_writes_into_an_empty_folder_only(bank: str, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    write(tmp_path, "project/notes.txt", "mine")
    result = look(tmp_path, bank)
    assert result.code == 2
    assert "is not empty; nothing was written" in result.err
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["notes.txt"]
    assert look(tmp_path, bank, "--yes").code == 9
    assert read(tmp_path, "notes.txt") == "mine"


_SHOP = """
CREATE TABLE client (id int PRIMARY KEY, land text NOT NULL);
CREATE TABLE bill (id int PRIMARY KEY, client_id int NOT NULL REFERENCES client, total int);
CREATE TABLE gone (id int PRIMARY KEY, client_id int NOT NULL REFERENCES client,
  other_id int REFERENCES client);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER kept BEFORE INSERT ON bill FOR EACH ROW EXECUTE FUNCTION keep();
INSERT INTO client SELECT n, CASE n % 2 WHEN 0 THEN 'DE' ELSE 'US' END FROM generate_series(1, 6) n;
INSERT INTO gone SELECT n, n, n FROM generate_series(1, 6) n;
"""


def test_another_look_keeps_the_edits_and_shows_what_changed(
    postgres_url: str, tmp_path: Path
) -> None:
    write(tmp_path, "m.csv", "value,region\nDE,eu\nUS,na\n")
    rule = ("--root", "client", "--region-by", "land", "--map", "m.csv")
    with source(postgres_url, _SHOP) as url:
        assert init(tmp_path, url, *rule).code == 0
        assert placement(tmp_path) == {"gone": {"home": "client_id", "same_region": ["other_id"]}}
        edited = read(tmp_path).replace("eu = {}", 'eu = { title = "Europe" } # mine')
        edited += '\n[placement.bill]\norphans = "eu"\n\n[migrate]\nworkers = 4\n'
        (tmp_path / "project" / "regionkit.toml").write_text(edited, encoding="utf-8")

        # Nothing has changed: nothing is written but what was edited stays.
        before = contents(tmp_path / "project")
        result = again(tmp_path, url)
        assert (result.code, "changed:" in result.err) == (0, False), result.err
        assert contents(tmp_path / "project") == before

        execute(
            url,
            "DROP TABLE gone",
            "ALTER TABLE bill ADD note text, DROP total",
            "ALTER TABLE client ALTER land TYPE varchar(9)",
            "CREATE TABLE visit (id int PRIMARY KEY, one int NOT NULL REFERENCES client, "
            "two int NOT NULL REFERENCES client)",
            "INSERT INTO visit VALUES (1, 1, 1), (2, 2, 2)",
            "CREATE INDEX bill_client ON bill (client_id)",
            "INSERT INTO client VALUES (7, 'JP')",
            "CREATE VIEW bills AS SELECT id FROM bill",
        )
        write(tmp_path, "m.csv", "value,region\nDE,eu\nUS,na\nJP,ap\n")
        result = again(tmp_path, url, "--map", "m.csv")
        assert result.code == 0, result.err
        for line in (
            "source: table gone is gone",
            "source: table visit is new (3 columns)",
            "source: table bill: column total is gone",
            "source: table bill: column note is new: note TEXT",
            "source: table client: column land is 'land VARCHAR(9) NOT NULL' instead of",
            "source: table bill: has CREATE INDEX bill_client",
            "source: view bills is new",
            "[placement.gone] became a comment: the table is gone",
            "[placement.visit] is new",
            "[regions.ap] is new",
        ):
            assert f"changed: {line}" in result.err
        toml = read(tmp_path)
        assert 'eu = { title = "Europe" } # mine' in toml
        assert "# (gone) [placement.gone]" in toml
        raw = tomllib.loads(toml)
        assert raw["placement"] == {
            "bill": {"orphans": "eu"},
            "visit": {"home": "one", "same_region": ["two"]},
        }
        assert raw["regions"].keys() == {"eu", "na", "ap"}
        assert raw["migrate"] == {"workers": 4}
        journey = Journey(tmp_path / "project", url, url)
        journey.done("generate")
        assert set(journey.project.layout.placement.tables) == {"client", "bill", "visit"}

        # An edited file of the schema is not overwritten either.
        extras = read(tmp_path, "extras.sql")
        mine = extras[: extras.index("-- regionkit: trigger")]
        (tmp_path / "project" / "extras.sql").write_text(mine, encoding="utf-8")
        again(tmp_path, url)
        assert read(tmp_path, "extras.sql") == mine
        assert not (tmp_path / "project" / "extras.new.sql").exists()
        execute(url, "CREATE VIEW more AS SELECT id FROM client")
        result = again(tmp_path, url)
        assert "extras.sql was edited, and the source has changed since" in result.err
        assert read(tmp_path, "extras.sql") == mine
        assert "more" in read(tmp_path, "extras.new.sql")


def test_of_very_many_uses_a_part_is_looked_at_first(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.init.survey._MANY_USES", 5)
    monkeypatch.setattr("toolkit.init.survey._SOME_USES", 6)
    write(tmp_path, "m.csv", "value,region\nDE,eu\nUS,na\n")
    statements = (
        "CREATE TABLE shared (id int PRIMARY KEY); CREATE TABLE own (id int PRIMARY KEY)",
        "ALTER TABLE client ADD shared_id int REFERENCES shared, ADD own_id int REFERENCES own",
        "INSERT INTO shared SELECT generate_series(0, 1); INSERT INTO own SELECT id FROM client",
        "UPDATE client SET shared_id = id % 2, own_id = id",
    )
    with source(postgres_url, _CLIENTS, *statements) as url:
        rule = ("--root", "client", "--region-by", "land", "--map", "m.csv")
        assert init(tmp_path, url, *rule).code == 0
        assert placement(tmp_path)["own"] == {"owned_through": "client via own_id"}
        assert "at least 2 of 2 row(s) are shared" in read(tmp_path, "init-report.md")


def test_statements_that_the_data_contradict_are_named(postgres_url: str, tmp_path: Path) -> None:
    write(tmp_path, "m.csv", "value,region\nDE,eu\nUS,na\n")
    with source(postgres_url, _SHOP, "UPDATE gone SET other_id = 7 - client_id") as url:
        rule = ("--root", "client", "--region-by", "land", "--map", "m.csv")
        result = init(tmp_path, url, *rule)
        assert placement(tmp_path) == {"gone": {"home": "client_id"}}
        toml = read(tmp_path).replace(
            'home = "client_id"', 'home = "client_id"\nsame_region = ["other_id"]'
        )
        (tmp_path / "project" / "regionkit.toml").write_text(toml, encoding="utf-8")
        result = again(tmp_path, url)
        assert result.code == 9
        assert "same_region names other_id, but it leads to another region in 6 rows" in result.err
        assert read(tmp_path) == toml
        result = again(tmp_path, url, "--root", "bill", "--region-by", "total")
        assert result.code == 2
        assert "--root bill: regionkit.toml says 'client'" in result.err
        assert "--region-by: regionkit.toml says otherwise" in result.err


def test_everything_stays_out_of_a_database_that_is_read_only(bank: str, tmp_path: Path) -> None:
    with psycopg.connect(bank, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        try:
            assert "1 thing(s) are to be decided" in look(tmp_path, bank).err
        finally:
            connection.execute(
                f"ALTER DATABASE {name} RESET default_transaction_read_only".encode()
            )


def test_the_worked_example_of_the_page(postgres_url: str, mongo_url: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "init.md").read_text(encoding="utf-8")
    _, _, example = page.partition("## A worked example")

    def blocks(language: str) -> list[str]:
        return re.findall(rf"```{language}\n(.*?)```", example, re.S)

    (statements,), (countries,) = blocks("sql"), blocks("csv")
    concluded, decided = blocks("toml")
    commands = [line.split()[1:] for text in blocks("sh") for line in text.splitlines()]
    proposals, questions = (text.splitlines() for text in blocks("text"))
    write(tmp_path, "countries.csv", countries)
    with source(postgres_url, statements) as url:
        env = {"REGIONKIT_SOURCE_URL": url, "REGIONKIT_MONGO_URL": mongo_url}
        result = regionkit(*commands[0], env=env, cwd=tmp_path)
        assert result.code == 2
        for line in proposals:
            assert line.strip() in result.err
        result = regionkit(*commands[1], env=env, cwd=tmp_path)
        assert result.code == 9
        assert "2 thing(s) are to be decided" in result.err
        for line in questions:
            assert line in result.err
        toml = tmp_path / "shop" / "regionkit.toml"
        text = toml.read_text(encoding="utf-8")
        assert tomllib.loads(text)["placement"] == tomllib.loads(concluded)["placement"]
        for line in decided.splitlines():
            assert f"# {line}".rstrip("# ") in text
        toml.write_text(text + decided, encoding="utf-8")
        name = tomllib.loads(text)["target"]["mongo"]["database"]
        try:
            for command in commands[2:]:
                result = regionkit(*command, env=env, cwd=tmp_path / "shop")
                assert result.code == 0, f"{command}: {result.err}"
        finally:
            drop_mongo(mongo_url, name)
