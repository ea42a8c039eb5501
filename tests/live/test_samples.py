"""Every hard sample on its whole way, from ``init`` to ``verify``, and exactly what comes of it.

What must come of it stands in the sample's ``case.toml``. Rows are counted by queries of its own,
not by regionkit. ``docs/cases.md`` tells the same, and is compared with it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.live import samples
from tests.live.journey import Journey, drop_mongo
from tests.live.samples import CASES, Case
from tests.live.support import Result, database, regionkit


@dataclass(frozen=True)
class Sample:
    """A sample that ``init`` has looked at, and the operator has decided.

    Attributes:
        case: what must come of it.
        journey: its project.
        seen: what ``init`` said of it before anything was decided.
        home: the region of each client.
        rows: how many rows of each table belong to each region.
    """

    case: Case
    journey: Journey
    seen: Result
    home: dict[str, str]
    rows: samples.Rows


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, id=name, marks=[pytest.mark.samples] if case.slow else [])
        for name, case in CASES.items()
    ],
)
def sample(
    request: pytest.FixtureRequest,
    postgres_url: str,
    mongo_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sample]:
    case: Case = request.param
    folder = tmp_path_factory.mktemp(case.name)
    with database(postgres_url) as url:
        if samples.major(url) < case.needs:
            pytest.skip(f"its schema needs PostgreSQL {case.needs}")
        case.load(url)
        journey = Journey(folder, url, url, mongo_url)
        home = samples.homes(case, url)
        rows = samples.in_the_source(case, url, home)
        seen = _look(case, journey)
        with (folder / "regionkit.toml").open("a", encoding="utf-8") as file:
            file.write(case.stated)
        try:
            yield Sample(case, journey, seen, home, rows)
        finally:
            drop_mongo(mongo_url, journey.mongo_database)


def _look(case: Case, journey: Journey) -> Result:
    """Let ``init`` look at the source and write the project."""
    rule = (
        ("--region-sql", case.region_sql)
        if case.region_sql
        else ("--region-by", str(case.region_by), "--map", str(case.folder / "map.csv"))
    )
    return regionkit(
        *("init", "--root", f"{case.schemas[0]}.{case.root}", *rule),
        *(word for schema in case.schemas for word in ("--schema", schema)),
        *("--out", str(journey.folder), "--output", "json"),
        env=journey.env,
    )


def test_init_asks_what_it_cannot_know(sample: Sample) -> None:
    case, seen = sample.case, sample.seen
    document = seen.document
    # What no answer helps against is refused: it is asked what to leave out.
    questions = [one for one in document["decisions"] if one["choices"]]
    asked = {one["subject"] for one in questions}
    assert asked == set(case.asks), document["decisions"]
    assert {one["backend"] for one in document["refused"]} == set(case.refused)
    assert len(document["decisions"]) == len(questions) + len(document["refused"])
    assert seen.code == (9 if case.asks or case.refused else 0), seen.err
    assert [f"{one['subject']}: {one['text']}" for one in document["notes"]] == list(case.notes)
    answers = tomllib.loads(case.stated).get("placement", {})
    assert set(answers) == asked
    for one in questions:
        table = one["subject"]
        proposed = [
            tomllib.loads("\n".join(choice))["placement"][table] for choice in one["choices"]
        ]
        assert (answers[table] in proposed) == (table not in case.unproposed), one


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_init_lists_what_is_left_behind(sample: Sample, backend: str) -> None:
    left = [
        f"{line['kind']}: {line['name']}"
        for line in sample.seen.document["inventory"]
        if line["backend"] == backend and line["outcome"] == "left behind"
    ]
    assert sorted(left) == sorted(sample.case.left.get(backend, ()))


def test_every_table_is_placed(sample: Sample) -> None:
    found = {}
    for table, one in sample.journey.project.layout.placement.tables.items():
        found[table] = str(one.kind)
        if one.home is not None:
            found[table] = f"{', '.join(one.home.columns)} -> {one.home.target}"
    assert found == dict(sample.case.placement)


def test_the_layout_tables(sample: Sample) -> None:
    case, journey = sample.case, sample.journey
    if _refused(sample, "postgres"):
        return
    assert samples.in_tables(case, journey, sample.home) == sample.rows
    if case.move is None:
        return
    client, region = case.move
    assert sample.home[client] != region
    before = _content(journey, case)
    samples.move(case, journey)
    moved = samples.in_tables(case, journey, {**sample.home, client: region})
    assert moved != sample.rows
    assert _content(journey, case) == before


def test_the_layout_collections(sample: Sample) -> None:
    if not _refused(sample, "mongo"):
        assert samples.in_collections(sample.case, sample.journey) == sample.rows


def _refused(sample: Sample, backend: str) -> bool:
    """Go the whole way, or as far as something must be refused; return whether it was."""
    refusal = sample.case.refused.get(backend)
    for command in ("generate", "apply", "migrate", "verify"):
        result = sample.journey.run(command, "--backend", backend)
        if refusal is not None and refusal.command == command:
            assert result.code == refusal.code, result.err
            for words in refusal.says:
                assert words in result.err
            return True
        said = [line for line in result.err.splitlines() if not line.startswith(f"{backend}: ")]
        assert result.code == 0, f"{command}: {result.code}\n" + "\n".join(said)
        if command == "apply" and backend == "postgres":
            found = re.findall(r"left behind: (\w+ .+?): ", result.out)
            assert found == list(sample.case.given_up), result.out
    assert refusal is None
    return False


def _content(journey: Journey, case: Case) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row, without the columns that say where it is."""
    found = {}
    for table in case.placement:
        name = case.names.get(table, table)
        columns = journey.rows(
            "SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) "
            "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "WHERE c.relnamespace = current_schema()::regnamespace "
            f"AND c.relname = {samples.literal(name)} AND a.attnum > 0 "
            f"AND a.attname !~ '_region$' AND a.attname <> {samples.literal(case.region_column)}"
        )
        found[table] = journey.rows(
            f"SELECT ({columns[0][0]})::text FROM {case.in_target(table)} ORDER BY 1"
        )
    return found


# The documentation -------------------------------------------------------------------------------


def told() -> dict[str, dict[str, str]]:
    """Return the table of docs/cases.md: its cells by case and heading."""
    page = samples.PAGE.read_text(encoding="utf-8")
    lines = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        for line in page.splitlines()
        if line.startswith("|")
    ]
    heads, _, *rows = lines
    return {row[0].strip("`"): dict(zip(heads[1:], row[1:], strict=True)) for row in rows}


def test_the_documentation_tells_every_case_as_it_is() -> None:
    wanted = {name: samples.row(case) for name, case in CASES.items()}
    assert told() == wanted, "run: python -m tests.live.samples"


def test_every_sample_has_its_expectations() -> None:
    others = {"every_type", "extras", "init", "northwind"}  # They have tests of their own.
    folders = {path.name for path in samples.SAMPLES.iterdir() if path.is_dir()}
    assert folders - others == set(CASES)
    for case in CASES.values():
        assert set(case.owner) == set(case.owned)
        assert case.root in case.placement
