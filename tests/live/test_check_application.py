"""``check application`` on real servers: what it says of a statement is what the layout does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine

from schemas.bank import seed
from tests.live.journey import Journey, execute, query, write
from tests.live.support import ROOT, Result, database
from toolkit.checks.application_report import Code, Severity
from toolkit.checks.judge import Judge
from toolkit.checks.statements import read
from toolkit.lab import temporary_lab
from toolkit.postgres import session

SECRET = "canary@example.com"


@dataclass(frozen=True)
class Case:
    """A statement of the bank's application.

    Attributes:
        sql: as the application says it.
        codes: what is said of it.
        values: names of its parameters' values.
        error: the SQLSTATE with which the layout refuses it; empty where it runs there.
        rows: how many rows its form affects or returns; ``None`` where there is no form.
        loses: whether it runs on the layout and does nothing there.
        literals: the values in the statement, which are parameters of its form.
    """

    sql: str
    codes: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    error: str = ""
    rows: int | None = None
    loses: bool = False
    literals: tuple[Any, ...] = ()


FAILS = (
    Case(
        "insert into payment (account_id, merchant_id, amount, currency, made_in) "
        "values ($1, $2, $3, $4, $5) returning id",
        ("insert-without-region",),
        ("account", "merchant", "amount", "currency", "place"),
        "23514",
        1,
    ),
    Case(
        "insert into payment (account_id,merchant_id,amount,currency,made_in) values "
        "($1,$2,$3,$4,$5),($6,$2,$3,$4,$5)",
        ("insert-without-region",),
        ("account", "merchant", "amount", "currency", "place", "other_account"),
        "23514",
        2,
    ),
    Case(
        "insert into account (iban, client_id, currency, opened_at) values ($1, $2, $3, default)",
        ("insert-without-region",),
        ("new_text", "client", "currency"),
        "23514",
        1,
    ),
    Case(
        "insert into account values ($1, $2, $3, $4, 0, now())",
        ("insert-without-region", "unique-per-region"),
        ("new_id", "new_text", "client", "currency"),
        "23514",
        1,
        literals=(0,),
    ),
    Case(
        "insert into account (iban, client_id, currency) "
        "select iban || '-2', client_id, currency from account where id = $1",
        ("insert-without-region", "every-region"),
        ("account",),
        "23514",
        1,
        literals=("-2",),
    ),
    Case(
        "insert into transfer (from_account_id, to_account_id, amount) values ($1, $2, $3) "
        "returning *",
        ("insert-without-region", "more-columns"),
        ("account", "other_account", "amount"),
        "23514",
        1,
    ),
    Case(
        "insert into client (email, full_name, country_code) values ($1, $2, $3) returning id",
        ("insert-without-region",),
        ("new_email", "new_text", "country"),
        "23514",
        1,
    ),
    Case(
        "insert into client (email, full_name, country_code) values ($1, $2, $3) "
        "on conflict (email) do update set full_name = excluded.full_name",
        ("conflict-target", "insert-without-region"),
        ("new_email", "new_text", "country"),
        "42P10",
    ),
    Case(
        "insert into account (id, iban, client_id, currency) values ($1, $2, $3, $4) "
        "on conflict (id) do update set currency = excluded.currency",
        ("conflict-target", "insert-without-region", "unique-per-region"),
        ("account", "new_text", "client", "currency"),
        "42P10",
        1,
    ),
    Case(
        "update account set region = $1 where id = $2",
        ("updates-region",),
        ("other_region", "account"),
        "23503",
        1,
    ),
    Case(
        "update client set id = $1 where id = $2",
        ("updates-client-key", "every-region"),
        ("new_id", "lonely"),
        "23503",
        1,
    ),
    Case(
        "merge into debit d using (values ($1::bigint, $2::numeric)) s (account, amount) "
        "on d.id = -s.account when matched then update set amount = s.amount "
        "when not matched then insert (account_id, card_id, merchant_id, amount, authorised_in) "
        "values (s.account, $3, $4, s.amount, $5)",
        ("insert-without-region", "join-without-region"),
        ("account", "amount", "card", "merchant", "place"),
        "23514",
        1,
    ),
    Case("select * from left_behind where id = $1", ("left-behind",), ("account",), "42P01"),
    Case(
        "select * from card union all select id, account_id, pan_token, expires, active from card",
        ("refused-by-server",),
        (),
        "42601",
    ),
    Case("copy account to stdout", ("copy-from-parent",), (), "42809", 0),
    Case("copy account (iban, client_id) from stdin", ("copy-without-region",)),
    Case("create index concurrently on client (full_name)", ("ddl-fails",)),
    Case("create unique index on client (full_name, id)", ("ddl-fails",), (), "0A000"),
)

CHANGES = (
    Case(
        "update account set balance = balance - $1 where id = $2 and region = $3",
        ("region-in-where",),
        ("amount", "account", "other_region"),
        rows=1,
        loses=True,
    ),
    Case(
        "delete from debit where account_id = $1 and region = $2 and id = $3",
        ("region-in-where",),
        ("account", "other_region", "debit"),
        rows=1,
        loses=True,
    ),
    Case(
        "update account set client_id = $1 where id = $2",
        ("updates-key", "every-region"),
        ("other_client", "lonely_account"),
        "23503",
        1,
    ),
    Case(
        "update transfer set to_account_id = $1 where id = $2",
        ("updates-key", "every-region"),
        ("account", "transfer"),
        "23503",
        1,
    ),
    Case("delete from client where id = $1", ("leaves-link", "every-region"), ("lonely",), rows=1),
    Case(
        "select * from account where id = $1",
        ("more-columns", "every-region"),
        ("account",),
        rows=1,
    ),
    Case(
        "update card set active = true where id = $1 returning card.*",
        ("more-columns", "every-region"),
        ("card",),
        rows=1,
    ),
    Case(
        "insert into account (iban, client_id, currency, region) values ($1, $2, $3, $4) "
        "on conflict do nothing",
        ("conflict-in-one-region",),
        ("other_iban", "client", "currency", "region"),
        "23505",
    ),
    Case("select count(*) from only client", ("only-parent",), (), rows=1),
    Case("select ctid from client where email = $1", ("every-region", "row-address"), ("email",)),
    Case(
        "update account_eu set balance = $1 where id = $2",
        ("one-partition",),
        ("amount", "account"),
    ),
    Case("truncate client cascade", ("truncates",), (), rows=0),
    Case("set constraints all deferred", ("defers-more",)),
    Case("alter table client add column nickname text", ("ddl",)),
)

PRUNES = (
    Case(
        "select a.iban, p.amount from client c join account a on a.client_id = c.id "
        "left join payment p on p.account_id = a.id where c.email = $1",
        ("every-region",),
        ("email",),
        rows=-1,
    ),
    Case(
        "with x as (select id as c from client where email = $1) "
        "select a.iban from account a, x where x.c = a.client_id and a.currency is not null",
        ("every-region",),
        ("email",),
        rows=-1,
    ),
    Case(
        "update account set balance = balance - $1 where id = $2",
        ("every-region",),
        ("amount", "account"),
        rows=1,
    ),
    Case(
        "delete from debit where id in ($1, $2)",
        ("every-region",),
        ("debit", "other_debit"),
        rows=2,
    ),
    Case(
        "select t.amount, b.iban from transfer t join account b on b.id = t.to_account_id "
        "where t.id = $1",
        ("every-region", "join-without-region"),
        ("transfer",),
        rows=1,
    ),
    Case(
        "select a.currency, sum(p.amount) from payment p join account a on a.id = p.account_id "
        "group by 1",
        ("join-without-region",),
        rows=-1,
    ),
    Case("select amount from transfer where to_account_id = $1", ("every-region",), ("account",)),
    Case("lock table account in exclusive mode", ("locks-every-region",)),
)

#: What runs as it does today.
SAME = (
    Case("select count(*) from client"),
    Case("select name from country where code = $1", (), ("country",)),
    Case("insert into country (code, name) values ('XX', 'Nowhere')"),
    Case("update client set full_name = $1", (), ("new_text",)),
    Case("select email from client where id = $1 and region = $2", (), ("client", "region")),
    Case(
        "insert into payment (account_id, region, merchant_id, amount, currency, made_in) "
        "values ($1, $2, $3, $4, $5, $6)",
        (),
        ("account", "region", "merchant", "amount", "currency", "place"),
    ),
    Case(
        "update account set balance = balance + $1 where id = $2 and region = "
        "(select region from client_region where client_id = $3 for key share)",
        (),
        ("amount", "account", "client"),
    ),
)

CASES = (*FAILS, *CHANGES, *PRUNES, *SAME)


class Bank:
    """The small bank, moved into the layout ``tables``."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey
        self.values = self._values()

    def check(self, text: str, *arguments: str, suffix: str = ".sql") -> Result:
        file = self.journey.folder / f"statements{suffix}"
        file.write_text(text, encoding="utf-8")
        return self.journey.run(
            "check", "application", "-q", "--output", "json", "--statements", str(file), *arguments
        )

    def _values(self) -> dict[str, Any]:
        row = query(
            self.journey.postgres,
            """
            select c.id, c.email, a.id, a.currency, k.id, d.id
            from client c join account a on a.client_id = c.id join card k on k.account_id = a.id
            join debit d on d.account_id = a.id
            where c.region = 'eu' order by c.id, a.id, k.id, d.id limit 1
            """,
            schema=self.journey.schema,
        )[0]
        found = dict(
            zip(("client", "email", "account", "currency", "card", "debit"), row, strict=True)
        )
        other = self.journey.rows(
            "select a.id, a.iban, a.client_id, a.region from account a where region = 'na' "
            "order by id limit 1"
        )[0]
        found |= dict(
            zip(("other_account", "other_iban", "other_client", "other_region"), other, strict=True)
        )
        one = {
            "other_debit": "select id from debit where region <> 'eu' limit 1",
            "merchant": "select min(id) from merchant",
            "transfer": "select t.id from transfer t where region = 'eu' "
            "and to_account_id_region <> 'eu' limit 1",
            "lonely": "select id from client c where not exists "
            "(select from account a where a.client_id = c.id) limit 1",
            "lonely_account": "select id from account a where region = 'eu' limit 1",
        }
        for name, statement in one.items():
            found[name] = self.journey.rows(statement)[0][0]
        return found | {
            "region": "eu",
            "amount": 1,
            "place": "gl",
            "country": "DE",
            "new_text": "new",
            "new_email": "new@example.com",
            "new_id": 10**9,
        }


@pytest.fixture(scope="module")
def bank(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder = tmp_path_factory.mktemp("bank")
    for name in ("extras.sql", "countries.csv"):
        shutil.copy(ROOT / "schemas" / "bank" / name, folder)
    text = (ROOT / "schemas" / "bank" / "regionkit.toml").read_text(encoding="utf-8")
    (folder / "regionkit.toml").write_text(text.replace('"../../', '"'), encoding="utf-8")
    with database(postgres_url) as url:
        with psycopg.connect(url) as connection:
            seed.create(connection)
            seed.load(connection, clients=300, payments=3000)
        journey = Journey(folder, url, url)
        journey.prepare("postgres")
        execute(url, "create table bank.left_behind (id bigint)", "analyze")
        yield Bank(journey)


@pytest.fixture(scope="module")
def answers(bank: Bank) -> dict[str, dict[str, Any]]:
    """What is said of each case, by its number; all in one run, as an application would."""
    result = bank.check(";\n".join(case.sql for case in CASES))
    assert result.code == 4
    by_text = {one["statement"]: one for one in result.document["statements"]}
    alone = {case.sql: bank.check(case.sql).document["statements"] for case in CASES[:1]}
    assert all(found[0] in by_text.values() for found in alone.values())
    return by_text


def said(answers: Mapping[str, dict[str, Any]], case: Case) -> dict[str, Any] | None:
    """Return what is said of a case."""
    (statement,) = read(case.sql, ".sql")
    return answers.get(statement.text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sql[:60])
def test_each_statement_gets_its_findings(answers: dict[str, dict[str, Any]], case: Case) -> None:
    found = said(answers, case)
    codes = set() if found is None else {one["code"] for one in found["findings"]}
    assert codes == set(case.codes)
    if found is not None:
        assert found["not_judged"] is None
        assert (found["forms"] != []) == (case.rows is not None or case.sql.startswith("copy"))


def run(
    bank: Bank, statement: str, values: list[Any], schema: str, first: str = ""
) -> tuple[int, list[Any]]:
    """Run a statement in a transaction that is rolled back."""
    with psycopg.connect(bank.journey.postgres) as connection:
        connection.execute("select set_config('search_path', %s, false)", [schema])
        connection.execute(first.encode())
        cursor = psycopg.RawCursor(connection)
        if statement.lower().startswith("copy"):
            with cursor.copy(statement.encode()) as copy:
                rows = list(copy)
            connection.rollback()
            return 0, rows
        cursor.execute(statement.encode(), values)
        rows = cursor.fetchall() if cursor.description else []
        count = cursor.rowcount
        # What is deferred is checked at the commit.
        connection.execute("set constraints all immediate")
        connection.rollback()
        return count, rows


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.error], ids=lambda case: case.sql[:60]
)
def test_what_is_said_to_fail_fails_on_the_layout_and_not_on_the_source(
    bank: Bank, case: Case
) -> None:
    values = [bank.values[name] for name in case.values]
    with pytest.raises(psycopg.Error) as error:
        run(bank, case.sql, values, bank.journey.schema)
    assert error.value.sqlstate == case.error
    if "region" not in case.sql:
        run(bank, case.sql, values, "bank")


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.loses], ids=lambda case: case.sql[:60]
)
def test_a_write_with_a_stale_region_is_lost(bank: Bank, case: Case) -> None:
    assert (
        run(bank, case.sql, [bank.values[name] for name in case.values], bank.journey.schema)[0]
        == 0
    )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.rows is not None], ids=lambda case: case.sql[:60]
)
def test_the_form_that_is_suggested_works(
    bank: Bank, answers: dict[str, dict[str, Any]], case: Case
) -> None:
    found = said(answers, case)
    assert found is not None
    (form,) = found["forms"]
    given = [*(bank.values[name] for name in case.values), *case.literals]
    values = dict(enumerate(given, start=1))
    for name, meaning in form["parameters"].items():
        values[int(name[1:])] = _meant(bank, case, meaning, values)
    numbers = sorted(values)[: _parameters(form["statement"])]
    count, rows = run(
        bank,
        form["statement"],
        [values[number] for number in numbers],
        bank.journey.schema,
        first=(form["note"] or "").partition(": ")[2],
    )
    if case.rows == -1:
        # The same rows as today's statement on the source.
        today = run(bank, case.sql, [bank.values[name] for name in case.values], "bank")[1]
        assert today and sorted(rows, key=str) == sorted(today, key=str)
    else:
        assert max(count, 0) == case.rows


def _meant(bank: Bank, case: Case, meaning: str, values: Mapping[int, Any]) -> Any:
    """Return the value of a parameter that only the form has, by what is said of it."""
    if meaning.startswith("text[]"):
        return ["eu", "gl", "na", "ap"]
    if meaning.startswith("was $"):
        return values[int(meaning[5:])]
    client = bank.values["lonely" if "lonely" in case.values else "client"]
    if meaning == "the new client_id":
        return bank.values["new_id"]
    if meaning.startswith("the client:"):
        return client
    if "moves to" in meaning:
        return "na"
    assert "region" in meaning
    if "new client" in meaning:
        return "eu"
    return bank.journey.rows(f"select region from client_region where client_id = {client}")[0][0]


def _parameters(statement: str) -> int:
    return max((number for number in range(1, 20) if f"${number}" in statement), default=0)


@pytest.mark.parametrize(
    "case",
    [case for case in PRUNES if case.rows is not None and "sum(" not in case.sql]
    + [case for case in CHANGES if "every-region" in case.codes and case.rows is not None],
    ids=lambda case: case.sql[:60],
)
def test_a_form_asks_fewer_regions(
    bank: Bank, answers: dict[str, dict[str, Any]], case: Case
) -> None:
    found = said(answers, case)
    assert found is not None
    again = bank.check(found["forms"][0]["statement"]).document["statements"]
    codes = {one["code"] for form in again for one in form["findings"]}
    assert not codes & {"every-region", "join-without-region", "more-columns", "updates-key"}


# What is printed, and how it ends ----------------------------------------------------------------


def test_the_text_names_the_statement_its_calls_and_what_works(bank: Bank) -> None:
    file = bank.journey.folder / "export.csv"
    file.write_text(
        "queryid,calls,query\n"
        '77,1200,"update account set balance = $1 where id = $2"\n'
        '78,3,"insert into card (account_id, pan_token, expires) values ($1,$2,$3)"\n'
        '79,1,"select now()"\n'
    )
    result = bank.journey.run("check", "application", "--statements", str(file))
    assert result.code == 4
    assert "1 statement(s): would fail" in result.out
    assert "[78] (3 calls) insert into card" in result.out
    assert "[77] (1,200 calls) update account" in result.out
    assert "works: UPDATE account SET balance = $1 WHERE id = $2 AND account.region = $3" in (
        result.out
    )
    assert "1 statement(s) run as they do today" in result.out


def test_only_what_is_asked_for_ends_in_4(bank: Bank) -> None:
    prune, change = "select email from client where id = $1", "select * from client"
    assert bank.check(prune).code == 0
    assert bank.check(prune, "--fail-on", "prune").code == 4
    assert bank.check(change).code == 4
    assert bank.check(change, "--fail-on", "fail").code == 0
    assert bank.check(change, "--accept", "more-columns").code == 0
    assert bank.check("insert into client (email) values ($1)", "--fail-on", "fail").code == 4


def test_exports_are_read(bank: Bank) -> None:
    rows = '[{"queryid": 5, "calls": 9, "query": "select ctid from client"}]'
    (found,) = bank.check(rows, suffix=".json").document["statements"]
    assert (found["id"], found["calls"]) == ("5", 9)
    assert found["findings"][0]["id"] == "5/row-address"
    for content, suffix in (("{}", ".json"), ("x", ".json"), ("calls\n1\n", ".csv")):
        assert bank.check(content, suffix=suffix).code == 2


def test_what_cannot_be_judged_is_listed(bank: Bank) -> None:
    result = bank.check("select nonsense from; select no_such_function(1); selct 1")
    assert result.code == 0
    assert result.document["counts"]["not_judged"] == 2
    assert result.document["utilities"] == 1
    assert "42601" in result.document["statements"][0]["not_judged"]
    # The server accepts it, and sqlglot does not understand it.
    (found,) = bank.check(
        "select id from client where id = $1 and full_name is nfc normalized"
    ).document["statements"]
    assert "could not be parsed" in found["not_judged"]
    assert [one["code"] for one in found["findings"]] == ["every-region"]


def test_values_are_not_printed(bank: Bank) -> None:
    result = bank.check(
        f"insert into client (email, full_name) values ('{SECRET}', E'{SECRET}') /* {SECRET} */;"
        f"select '{SECRET}'::int from account; -- {SECRET}\n"
        f"select generate_series(1, 2) from account where iban = '{SECRET}' and id = 1;"
        f"set application_name = '{SECRET}'; select * from {{}} where x = '{SECRET}'"
    )
    assert result.code == 4
    assert SECRET not in result.out + result.err
    assert "canary" not in result.out + result.err


def test_nothing_is_executed(bank: Bank) -> None:
    before = bank.journey.rows("select count(*), max(id) from country, client")
    execute(
        bank.journey.postgres,
        "create function noisy() returns int language plpgsql as "
        "$$begin create table bank.made (x int); return 1; end$$",
        schema="bank",
    )
    bank.check(
        "delete from ledger_entry; select noisy(); select 1; drop table bank.country; "
        "explain analyze delete from client; "
        "with x as (delete from card returning 1) select * from x"
    )
    assert bank.journey.rows("select count(*), max(id) from country, client") == before
    assert query(bank.journey.postgres, "select to_regclass('bank.made')") == [(None,)]
    # Two statements in one, as a broken export may have them.
    with session.connect(bank.journey.postgres, role="source") as connection:
        verdict = Judge(connection, ("bank",), "eu").judge("select 1; drop table bank.country")
    assert verdict.sqlstate == "42601"


def test_the_default_schema_in_a_name_is_the_layouts(bank: Bank) -> None:
    (found,) = bank.check("select bank.client.email from bank.client where id = $1").document[
        "statements"
    ]
    assert [one["code"] for one in found["findings"]] == ["every-region"]
    assert "FROM bank_regional.client WHERE" in found["forms"][0]["statement"]


def test_the_banks_own_statements(bank: Bank) -> None:
    """What regionkit.toml declares for the layout runs there, and what it does not, is named."""
    declared = bank.journey.project.configuration.file
    today = [one.sql for write in declared.write for one in write.single.statements]
    regional = [
        one.sql for write in declared.write if write.tables for one in write.tables.statements
    ]
    queries = [query.sql for query in declared.query]
    result = bank.check(";\n".join([*today, *queries]))
    failing = {
        finding["table"]
        for one in result.document["statements"]
        for finding in one["findings"]
        if finding["severity"] == "fail"
    }
    assert failing == {"payment", "ledger_entry", "client"}
    assert result.document["counts"]["not_judged"] == 0
    mended = bank.check(";\n".join([*regional, *(query.tables or "" for query in declared.query)]))
    assert mended.code == 0, mended.err


def test_a_layout_that_is_not_applied_is_refused(postgres_url: str, tmp_path: Path) -> None:
    with database(postgres_url) as url:
        execute(url, "create table client (id bigint primary key, land text not null)")
        journey = Journey(write(tmp_path, SMALL), url, url)
        (tmp_path / "x.sql").write_text("select 1")
        result = journey.run("check", "application", "--statements", "x.sql")
        assert result.code == 9
        assert "regionkit apply" in result.err
        assert journey.run("check", "application", "--statements", "no.sql").code == 2


# Other sources ------------------------------------------------------------------------------------

SMALL = """
    [root]
    table = "client"
    [root.region]
    column = "land"
    map = { DE = "eu", US = "na" }
    [regions]
    eu = {}
    na = {}
"""

SEVERAL = """
    [source]
    metadata = "schema.py:metadata"
    schema = "shop"
    schemas = ["sales"]
    [root]
    table = "client"
    [root.region]
    column = "land"
    map = { DE = "eu", US = "na" }
    [regions]
    eu = {}
    na = {}
    [unique]
    "client.client_code_key" = "region"
    [placement.mandate]
    home = "client_id"
    [placement.account]
    owned_through = "mandate via account_id"
"""


MODEL = """
    from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Table, Text

    metadata = MetaData()

    def key(name, target):
        return Column(name, BigInteger, ForeignKey(target + ".id"), nullable=False)

    def table(schema, name, *columns):
        id_ = Column("id", BigInteger, primary_key=True, autoincrement=False)
        Table(name, metadata, id_, *columns, schema=schema)

    code = Column("code", Text, unique=True)
    table("shop", "client", Column("land", Text, nullable=False), code)
    table("shop", "account", Column("iban", Text, nullable=False))
    table("shop", "mandate", key("account_id", "shop.account"), key("client_id", "shop.client"))
    table("sales", "customer", key("client_id", "shop.client"), Column("note", Text))
    table("sales", "client", key("customer_id", "sales.customer"))
"""


def test_further_schemas_and_owner_columns(postgres_url: str, tmp_path: Path) -> None:
    with database(postgres_url) as url:
        journey = Journey(write(tmp_path, SEVERAL, schema__py=MODEL), url, url)
        execute(url, "create schema shop; create schema sales; create extension citext schema shop")
        journey.project.metadata.create_all(create_engine(url.replace("://", "+psycopg://")))
        for command in ("generate", "apply"):
            journey.done(command, "--backend", "postgres")
        (tmp_path / "x.sql").write_text(
            "select customer.note from sales.customer where customer.id = $1;"
            "insert into sales.customer (id, client_id) values ($1, $2);"
            "select note from customer where id = $1;"
            "select 1 from shop.client as sales where sales.id = $1 and region = $2;"
            "insert into account (id, iban) values ($1, $2);"
            "insert into client (id, land, code, region) values ($1, $2, $3, $4);"
            "select citext($1) = $2 from client where id = $3 and region = $4"
        )
        result = journey.run(
            "check", "application", "--statements", "x.sql", "--output", "json", "-q"
        )
        found = {
            one["statement"]: (
                {finding["code"] for finding in one["findings"]},
                [form["statement"] for form in one["forms"]],
            )
            for one in result.document["statements"]
        }
        flat = journey.project.layout.name("sales.customer")
        assert flat == "sales_customer"
        region = "(SELECT client_region.region FROM client_region WHERE client_region.client_id = "
        assert found == {
            "select customer.note from sales.customer where customer.id = $1": (
                {"called-otherwise", "every-region"},
                [
                    f"SELECT customer.note FROM shop_regional.{flat} AS customer WHERE "
                    "customer.id = $1 AND customer.region = $2"
                ],
            ),
            "insert into sales.customer (id, client_id) values ($1, $2)": (
                {"called-otherwise", "insert-without-region"},
                [
                    f"INSERT INTO shop_regional.{flat} AS customer (id, client_id, region) "
                    f"VALUES ($1, $2, {region}$2 FOR KEY SHARE))"
                ],
            ),
            "select note from customer where id = $1": (
                {"called-otherwise", "every-region"},
                [f"SELECT note FROM {flat} AS customer WHERE id = $1 AND customer.region = $2"],
            ),
            "insert into account (id, iban) values ($1, $2)": (
                {"insert-without-region"},
                [
                    "INSERT INTO account (id, iban, client_id, region) VALUES ($1, $2, $3, "
                    f"{region}$3 FOR KEY SHARE))"
                ],
            ),
            "insert into client (id, land, code, region) values ($1, $2, $3, $4)": (
                {"unique-per-region"},
                [],
            ),
        }


def test_views_and_what_was_left_behind(postgres_url: str, tmp_path: Path) -> None:
    with database(postgres_url) as url:
        execute(
            url,
            "create table client (id bigint primary key, land text not null);"
            "create table sale (id bigint primary key, client_id bigint not null "
            "references client, what text);"
            "create view sales as select s.id, s.what, c.land from sale s "
            "join client c on c.id = s.client_id;"
            "create view plain as select id, what from sale;"
            "create function shout(text) returns text language sql as 'select upper($1)'",
        )
        journey = Journey(write(tmp_path, SMALL), url, url)
        for command in ("generate", "apply"):
            journey.done(command, "--backend", "postgres")
        execute(url, "create function public.left_behind() returns int language sql return 1")
        (tmp_path / "x.sql").write_text(
            "select what from sales where id = $1;"
            "select left_behind() from client where id = $1;"
            "select shout(what) from plain limit 3;"
            "select count(*) from sales"
        )
        result = journey.run(
            "check", "application", "--statements", "x.sql", "--output", "json", "-q"
        )
        found = {
            one["statement"]: {finding["code"] for finding in one["findings"]}
            for one in result.document["statements"]
        }
        assert found == {
            "select what from sales where id = $1": {"every-region"},
            "select left_behind() from client where id = $1": {"left-behind"},
        }
        assert result.document["unchanged"] == 2


def test_pg_stat_statements_of_the_source(tmp_path: Path) -> None:
    with temporary_lab(fast=True, servers=("postgres",)) as lab:
        url = lab.url("postgres")
        assert url is not None
        execute(
            url,
            "create table client (id bigint generated always as identity primary key, "
            "land text not null, email text unique)",
            "insert into client (land, email) values ('DE', 'a@b')",
        )
        journey = Journey(write(tmp_path, SMALL), url, url)
        for command in ("generate", "apply"):
            journey.done(command, "--backend", "postgres")
        assert "--statements FILE" in journey.run("check", "application").err
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create extension pg_stat_statements")
            connection.execute("alter system set shared_preload_libraries = pg_stat_statements")
        refused = journey.run("check", "application")
        assert (refused.code, "shared_preload_libraries" in refused.err) == (9, True)
        lab.down()
        lab.up(("postgres",), True)
        url = lab.url("postgres")
        assert url is not None
        journey = Journey(tmp_path, url, url)
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(3):
                connection.execute(
                    f"insert into client (land,email) values ('DE','{SECRET}{number}')".encode()
                )
            connection.execute(f"select land from client where email in ('{SECRET}','x','y')")
            connection.execute("create role app login password 'app'")
            connection.execute("grant usage on schema public, public_regional, regionkit to app")
            connection.execute("grant select on client to app")
        result = journey.run("check", "application", "--output", "json")
        assert result.code == 4
        assert SECRET not in result.out + result.err
        found = {one["statement"]: one for one in result.document["statements"]}
        insert = found["insert into client (land,email) values ($1,$2)"]
        assert insert["calls"] == 3
        assert insert["findings"][0]["code"] == "insert-without-region"
        (lookup,) = [one for text, one in found.items() if "where email in" in text]
        assert "ANY(" in lookup["forms"][0]["statement"]
        # Without the application's privileges the server plans nothing; without pg_read_all_stats
        # the statements of others are hidden, and counted.
        mine = url.replace("regionkit:", "app:", 1)
        password = url.partition("regionkit:")[2].partition("@")[0]
        mine = mine.replace(password, "app", 1)
        app = Journey(tmp_path, mine, mine)
        lacking = app.run("check", "application")
        assert lacking.code == 9
        assert "client: SELECT, INSERT, UPDATE, DELETE" in lacking.err
        execute(url, "grant all on all tables in schema public_regional to app")
        hidden = app.run("check", "application", "--output", "json").document
        assert hidden["hidden"] > 0


def test_every_kind_of_finding_has_a_case() -> None:
    seen = {code for case in CASES for code in case.codes}
    # Further schemas have a test of their own.
    assert seen | {Code.called_otherwise} == set(Code)
    assert {Severity.fail, Severity.change, Severity.prune} == {code.severity for code in Code}
    for cases, severity in ((FAILS, "fail"), (CHANGES, "change"), (PRUNES, "prune")):
        for case in cases:
            assert (
                min([Code(code).severity for code in case.codes], key=list(Severity).index)
                == severity
            )
