"""``regionkit.toml``: what is right loads, what is wrong is named, and no password is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from toolkit import config
from toolkit.config import Configuration, File, load
from toolkit.errors import UsageError
from toolkit.placement import Kind, Statement

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
SECRET = "canary-7Qx"

MINIMAL = """
[root]
table = "client"
[root.region]
column = "country"
map = { DE = "eu", US = "us" }
[regions]
eu = { title = "Europe" }
us = {}
"""


class Project:
    """A folder with a configuration, and the files that it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def load(self, text: str | bytes = MINIMAL, **environment: str) -> Configuration:
        return load(self.file("regionkit.toml", text), environment)

    def refused(self, text: str | bytes) -> UsageError:
        with pytest.raises(UsageError) as caught:
            self.load(text)
        assert caught.value.hint
        return caught.value


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


# The page -----------------------------------------------------------------------------------


def sections() -> Iterator[type[BaseModel]]:
    for found in vars(config).values():
        if isinstance(found, type) and issubclass(found, config._Section):
            yield found


def keys() -> Iterator[str]:
    for section in sections():
        for name, field in section.model_fields.items():
            yield field.alias or name


def places(section: type[BaseModel] = File, path: str = "") -> list[tuple[str, str]]:
    """Return every key of a section and of the sections in it, each with the path to it."""
    found = []
    for name, field in section.model_fields.items():
        key = field.alias or name
        found.append((path, key))
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found += places(part, f"{path}.{key}".removeprefix("."))
    return found


#: The rows of the page, by the heading that they stand under. A row may name several keys.
ROWS = {
    heading.partition(".<")[0]: {
        row
        for line in re.findall(r"^\| (`[^|]*`) \|", text, re.M)
        for row in re.findall(r"`([\w.]+)`", line)
    }
    for heading, text in re.findall(r"^## `\[+([\w.<>]+)\]+`\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
}


@pytest.mark.parametrize(("path", "key"), places(File))
def test_every_key_is_on_the_page(path: str, key: str) -> None:
    parts = [*path.split("."), key] if path else [key]
    if any(heading.startswith(".".join(parts) + ".") for heading in ROWS):
        return  # Its own keys have headings.
    # Under the longest heading that leads to it, in a row with what is left of its path.
    headings = [".".join(parts[:cut]) for cut in range(len(parts), 0, -1)]
    heading = next(found for found in headings if found in ROWS)
    rest = ".".join(parts).removeprefix(heading).removeprefix(".")
    assert not rest or rest in ROWS[heading]


def test_the_page_lists_no_key_that_does_not_exist() -> None:
    known = {(*path.split("."), key) for path, key in places(File)}
    for heading, rows in ROWS.items():
        for row in rows:
            assert (*heading.split("."), *row.split(".")) in known, (heading, row)


def test_the_examples_mention_every_key() -> None:
    text = "\n".join(EXAMPLES)
    missing = [key for key in keys() if not re.search(rf"\b{key}\b", text)]
    assert missing == []


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_loads(project: Project, example: str) -> None:
    project.file("countries.csv", "value,region\nDE,eu\n")
    loaded = project.load(example)
    assert loaded.file.root.table in ("client", "customer")


def test_the_defaults_on_the_page_are_the_defaults(project: Project) -> None:
    stated = dict(re.findall(r"^\| `(\w+)` \| .+ \| `\"?([^`\"]*)\"?` \|$", PAGE, re.M))
    migrate, migrations = project.load().file.migrate, project.load().file.migrations
    assert stated["chunk_rows"] == "each layout has its own" and migrate.chunk_rows is None
    assert stated["work_mem"] == migrate.work_mem
    assert stated["maintenance_work_mem"] == migrate.maintenance_work_mem
    assert int(stated["workers"]) == migrate.workers
    assert float(stated["lock_timeout"]) == migrate.lock_timeout
    assert (stated["sql"], stated["nosql"]) == (migrations.sql, migrations.nosql)
    for role in ("source", "postgres", "mongo"):
        assert f'| `"{project.load().url_variable(role)}"` |' in PAGE  # type: ignore[arg-type]


# What is right ------------------------------------------------------------------------------


def test_what_a_minimal_file_means(project: Project) -> None:
    loaded = project.load()
    assert loaded.topology.codes == ("eu", "us")
    assert loaded.topology.regions[0].title == "Europe"
    assert loaded.region_map == {"DE": "eu", "US": "us"}
    assert loaded.statements == {}
    assert loaded.source_schema == "public"
    assert loaded.target_schema == loaded.mongo_database == "public_regional"
    assert loaded.sql_migrations == project.folder / "migrations_sql"
    assert loaded.nosql_migrations == project.folder / "migrations_nosql"
    assert loaded.extras_text() == ""
    assert loaded.clients() is None
    assert not loaded.imports_metadata


def test_the_targets_are_named_after_the_source_unless_they_have_a_name(project: Project) -> None:
    named = project.load(MINIMAL + '[source]\nschema = "shop"\n')
    assert (named.target_schema, named.mongo_database) == ("shop_regional", "shop_regional")
    own = project.load(
        MINIMAL + '[target.postgres]\nschema = "a"\n[target.mongo]\ndatabase = "b"\n'
    )
    assert (own.target_schema, own.mongo_database) == ("a", "b")


def test_statements(project: Project) -> None:
    loaded = project.load(
        MINIMAL
        + """
[placement.currency]
kind = "global"
[placement.payment]
home = "account_id"
same_region = ["card_id", ["tenant", "invoice"]]
[placement."audit.visit"]
owner = "client via  tenant , visitor"
orphans = "eu"
"""
    )
    assert loaded.statements == {
        "currency": Statement(kind=Kind.shared),
        "payment": Statement(
            home=("account_id",), same_region=(("card_id",), ("tenant", "invoice"))
        ),
        "audit.visit": Statement(owner=("client", ("tenant", "visitor")), orphans="eu"),
    }


def test_the_environment_wins_over_the_file(project: Project) -> None:
    text = MINIMAL + '[source]\nurl = "postgresql://file/db"\n'
    assert project.load(text).url("source") == "postgresql://file/db"
    given = project.load(text, REGIONKIT_SOURCE_URL="postgresql://environment/db")
    assert given.url("source") == "postgresql://environment/db"
    assert project.load(text, REGIONKIT_SOURCE_URL="").url("source") == "postgresql://file/db"


def test_the_target_is_the_sources_server_unless_it_has_its_own(project: Project) -> None:
    source = {"REGIONKIT_SOURCE_URL": "postgresql://one/db"}
    assert project.load(**source).url("postgres") == "postgresql://one/db"
    own = project.load(**source, REGIONKIT_POSTGRES_URL="postgresql://two/db")
    assert own.url("postgres") == "postgresql://two/db"
    assert project.load(**source).url("mongo") is None


def test_a_variable_of_the_operators_choice(project: Project) -> None:
    loaded = project.load(
        MINIMAL + '[target.mongo]\nurl_env = "SHOP"\n', SHOP="mongodb://one", OTHER="x"
    )
    assert loaded.url_variable("mongo") == "SHOP"
    assert loaded.url("mongo") == "mongodb://one"


def test_where_the_file_is_looked_for(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project.file("other.toml", MINIMAL)
    assert load(environment={"REGIONKIT_CONFIG": str(path)}).path == path
    project.file("regionkit.toml", MINIMAL)
    monkeypatch.chdir(project.folder)
    assert load(environment={}).path == project.folder / "regionkit.toml"


# The map and the list of clients ------------------------------------------------------------

MAP_FILE = MINIMAL.replace('map = { DE = "eu", US = "us" }', 'map_file = "map.csv"')
CLIENTS = MINIMAL.replace(
    'column = "country"\nmap = { DE = "eu", US = "us" }', 'clients = "clients.csv"'
)


@pytest.mark.parametrize(
    "text",
    [
        "value,region\nDE,eu\nUS,us\n",
        "value,region\r\nDE,eu\r\nUS,us\r\n",
        "\ufeffvalue,region\nDE,eu\nUS,us",
        'value,region\n\n"DE","eu"\n\nUS,us\n\n',
    ],
)
def test_a_map_in_a_file(project: Project, text: str) -> None:
    project.file("map.csv", text)
    assert project.load(MAP_FILE).region_map == {"DE": "eu", "US": "us"}


def test_values_of_a_map_are_taken_to_the_letter(project: Project) -> None:
    project.file("map.csv", 'v,r\n"DE ",eu\nde,us\n"a,b",us\n"line\u2028one\ntwo",eu\n')
    assert project.load(MAP_FILE).region_map == {
        "DE ": "eu",
        "de": "us",
        "a,b": "us",
        "line\u2028one\ntwo": "eu",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("v,r\nDE,eu\nDE,us\n", "line 3: 'DE' has a second region"),
        ("v,r\nDE,eu\n\nUS\n", "line 4: 1 column(s) instead of 2"),
        ("v,r\nDE,eu,x\n", "line 2: 3 column(s) instead of 2"),
        ("DE,eu\nUS,us\n", "the first line is data, it ends in region 'eu'"),
    ],
)
def test_a_map_that_cannot_be_read(project: Project, text: str, problem: str) -> None:
    project.file("map.csv", text)
    assert f"map.csv{', ' if problem.startswith('line') else ': '}{problem}" in (
        project.refused(MAP_FILE).message
    )


def test_a_line_that_is_there_twice_is_no_contradiction(project: Project) -> None:
    project.file("map.csv", "v,r\nDE,eu\nDE,eu\n")
    assert project.load(MAP_FILE).region_map == {"DE": "eu"}


def test_a_map_that_is_not_there(project: Project) -> None:
    error = project.refused(MAP_FILE)
    assert "map_file" in error.message
    assert "map.csv" in error.message


def test_a_map_that_is_not_text(project: Project) -> None:
    project.file("map.csv", b"v,r\n\xff\xfe,eu\n")
    assert "UTF-8" in project.refused(MAP_FILE).hint


def test_a_field_that_is_too_long(project: Project) -> None:
    project.file("map.csv", "v,r\n" + "x" * 200_000 + ",eu\n")
    assert "map.csv, line 2" in project.refused(MAP_FILE).message


def test_a_list_of_clients(project: Project) -> None:
    project.file("clients.csv", "tenant,id,region\n1,7,eu\n1,8,us\n")
    assert project.load(CLIENTS).clients() == [("1", "7", "eu"), ("1", "8", "us")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,region\n1,eu\n2,EU\n", "line 3: region 'EU' is not declared"),
        ("id,region\n1,eu\n2,'eu '\n", "line 3: region \"'eu '\" is not declared"),
        ("id,region\n1,eu\n1,us\n", "line 3: the client of an earlier line has a second region"),
        ("id,region\n1,eu\n1,2,us\n", "line 3: 3 column(s) instead of 2"),
        ("region\neu\n", "line 2: 1 column(s)"),
        ("1,eu\n2,us\n", "the first line is data"),
    ],
)
def test_a_list_of_clients_that_cannot_be_right(project: Project, text: str, problem: str) -> None:
    project.file("clients.csv", text)
    with pytest.raises(UsageError) as caught:
        project.load(CLIENTS).clients()
    assert problem in caught.value.message
    assert caught.value.hint


# What is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (("[root", "[rooot"), "root: is missing"),
        (("[root", "[rooot"), "rooot: there is no such key"),
        (('table = "client"', 'tabel = "client"'), "root.tabel: there is no such key"),
        (('table = "client"', ""), "root.table: is missing"),
        (("[regions]", "[placement]"), "regions: is missing"),
        (('column = "country"\n', ""), "root.region: give exactly one of column, sql and clients"),
        (("map = {", 'sql = "x"\nmap = {'), "root.region: give exactly one of"),
        (("map = {", 'map_file = "x"\nmap = {'), "column needs exactly one of map and map_file"),
        (("[regions]", '[source]\nschema_name = "x"\n[regions]'), "source.schema_name: there is"),
        (("[regions]", "[migrate]\nworkers = 0\n[regions]"), "migrate.workers: Input should be"),
        (("[regions]", "[migrate]\nlock_timeout = 0\n[regions]"), "migrate.lock_timeout: Input"),
        (("[regions]", '[placement.x]\nkind = "root"\n[regions]'), "placement.x.kind: Input"),
        (("[regions]", '[placement.x]\nowner = "client"\n[regions]'), 'placement.x.owner: write "'),
        (("[regions]", '[unique]\n"a.b" = "all"\n[regions]'), "unique.a.b: Input should be"),
        (
            ("[regions]", '[[round_trip]]\nbetween = ["eu", "us"]\nms = -1\n[regions]'),
            "round_trip.0.ms: Input should be",
        ),
        (
            ("[regions]", '[[invariant]]\nname = "x"\n[regions]'),
            "invariant.0.sql: is missing",
        ),
    ],
)
def test_a_mistake_is_named(project: Project, change: tuple[str, str], detail: str) -> None:
    error = project.refused(MINIMAL.replace(*change))
    assert "regionkit.toml has " in error.message
    assert any(line.startswith(detail) or detail in line for line in error.details)
    assert "docs/configuration.md" in error.hint


def test_every_mistake_is_named_at_once(project: Project) -> None:
    error = project.refused(MINIMAL.replace('table = "client"', "tabel = 1") + "\n[sauce]\n")
    assert "has 3 mistake(s)" in error.message
    assert len(error.details) == 3


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (MINIMAL.replace('US = "us"', 'US = "mars"'), "[root.region] map, 'US': 'mars'"),
        (MINIMAL.replace('US = "us"', 'US = "EU"'), "[root.region] map, 'US': 'EU'"),
        (MINIMAL.replace("map =", 'default = "mars"\nmap ='), "[root.region] default: 'mars'"),
        (MINIMAL + '[placement.x]\norphans = "mars"\n', "[placement.x] orphans: 'mars'"),
        (
            MINIMAL + '[[round_trip]]\nbetween = ["mars", "eu"]\nms = 1\n',
            "[[round_trip]] ['mars', 'eu']: 'mars'",
        ),
        (
            MINIMAL + '[[round_trip]]\nbetween = ["eu", "mars"]\nms = 1\n',
            "[[round_trip]] ['eu', 'mars']: 'mars'",
        ),
    ],
)
def test_a_region_that_is_not_declared(project: Project, text: str, where: str) -> None:
    error = project.refused(text)
    assert error.details == (where,)
    assert "eu, us" in error.hint


@pytest.mark.parametrize("code", ['"EU"', '"e u"', '"eu\'"', '"e\\u0000"', "x" * 70, '""'])
def test_a_region_code_that_is_not_allowed(project: Project, code: str) -> None:
    assert "is not allowed" in project.refused(MINIMAL + f"{code} = {{}}\n").message


def test_no_regions(project: Project) -> None:
    text = MINIMAL.partition("[regions]")[0] + "[regions]\n"
    assert "no region is declared" in project.refused(text).message


def test_a_file_that_is_not_there(project: Project) -> None:
    with pytest.raises(UsageError, match=r"no file .*none\.toml") as caught:
        load(project.folder / "none.toml", {})
    assert "--config" in caught.value.hint


def test_a_folder_instead_of_a_file(project: Project) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load(project.folder, {})


@pytest.mark.parametrize("text", ["[root", "a = \n", b"\xff\xfe", "[a]\n[a]\n"])
def test_a_file_that_is_not_toml(project: Project, text: str | bytes) -> None:
    assert "regionkit.toml" in project.refused(text).message


# Passwords ----------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["source", "target.postgres", "target.mongo"])
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}@db/bank",
        f"postgresql://db/bank?password={SECRET}",
        f"mongodb://app:{SECRET}@one,two/bank",
        f"host=db password='{SECRET}'",
    ],
)
def test_a_password_in_the_file_is_refused_and_not_printed(
    project: Project, section: str, url: str
) -> None:
    error = project.refused(MINIMAL + f'[{section}]\nurl = "{url}"\n')
    assert [line.partition(": ")[0] for line in error.details] == [f"{section}.url"]
    assert "environment variable" in error.details[0]
    assert SECRET not in "\n".join([error.message, error.hint, *error.details])


def test_a_password_is_not_among_the_decisions(project: Project) -> None:
    plain = project.load()
    assert (
        project.load(REGIONKIT_SOURCE_URL=f"postgresql://app:{SECRET}@db/bank").decisions()
        == plain.decisions()
    )


# Fingerprint --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL.replace('US = "us"', 'US = "eu"'),
        MINIMAL.replace('"country"', '"residence"'),
        MINIMAL.replace('"client"', '"customer"'),
        MINIMAL + "ap = {}\n",
        MINIMAL + '[placement.x]\nkind = "global"\n',
        MINIMAL + '[unique]\n"a.b" = "region"\n',
        MINIMAL + '[target.postgres]\nschema = "elsewhere"\n',
    ],
)
def test_what_decides_where_a_row_goes_is_among_the_decisions(project: Project, text: str) -> None:
    assert project.load(text).decisions() != project.load().decisions()


def test_what_decides_nothing_is_not(project: Project) -> None:
    slower = project.load(MINIMAL + "[migrate]\nworkers = 1\n")
    assert slower.decisions() == project.load().decisions()


def test_a_list_of_clients_is_among_the_decisions(project: Project) -> None:
    project.file("clients.csv", "id,region\n1,eu\n")
    before = project.load(CLIENTS).decisions()
    project.file("clients.csv", "id,region\n1,us\n")
    assert project.load(CLIENTS).decisions() != before


# Importing ----------------------------------------------------------------------------------


def test_a_model_of_the_project_is_imported(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    project.file("a_model.py", "from sqlalchemy import MetaData\nfound = MetaData()\nother = 1\n")
    loaded = project.load(MINIMAL + '[source]\nmetadata = "a_model:found"\n')
    assert loaded.imports_metadata
    assert loaded.import_metadata().tables == {}
    for name, found in (("a_model:other", "int"), ("a_model", "module")):
        wrong = project.load(MINIMAL + f'[source]\nmetadata = "{name}"\n')
        with pytest.raises(UsageError, match=f"{name!r} is a {found}") as caught:
            wrong.import_metadata()
        assert "MetaData" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("no_such_module:x", None),
        ("no_attribute:x", ""),
        (":x", None),
        ("not_python:x", "def\n"),
        ("raises:x", "1 / 0\n"),
    ],
)
def test_a_model_that_cannot_be_imported(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, code: str | None
) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    if code is not None:
        project.file(f"{name.partition(':')[0]}.py", code)
    with pytest.raises(UsageError, match=re.escape(f"cannot import {name!r}")) as caught:
        project.load(MINIMAL + f'[source]\nmetadata = "{name}"\n').import_metadata()
    assert "package.module:attribute" in caught.value.hint


def test_a_demo_that_is_not_declared(project: Project) -> None:
    with pytest.raises(UsageError, match="no demonstration data") as caught:
        project.load().demo_module()
    assert caught.value.hint


def test_extras_are_read_beside_the_file(project: Project) -> None:
    project.file("extras.sql", "-- é\n")
    assert project.load(MINIMAL + '[source]\nextras = "extras.sql"\n').extras_text() == "-- é\n"
    with pytest.raises(UsageError, match=r"\[source\] extras: there is no file"):
        project.load(MINIMAL + '[source]\nextras = "none.sql"\n').extras_text()
