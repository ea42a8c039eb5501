"""The operator's files: what is read from them, and what stays in them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, Text, UniqueConstraint

from tests.unit.support import TOPOLOGY, key, table
from toolkit.config import File
from toolkit.errors import UsageError
from toolkit.extras import parse
from toolkit.init import changes, projectfile, reading, rule
from toolkit.init.ownership import Decisions
from toolkit.init.rule import Rule
from toolkit.init.seen import Decision, Seen, Stated
from toolkit.init.statements import answer, toml_key, toml_string
from toolkit.placement import Kind, Statement, Through, infer

# The rule -------------------------------------------------------------------------------------


def read(folder: Path, text: str, columns: int = 2) -> tuple[rule.Listed, list[str]]:
    path = folder / "map.csv"
    path.write_text(text, encoding="utf-8")
    return rule.read_csv(path, columns, ("value", "region"))


def test_a_map_is_read_with_or_without_its_header(tmp_path: Path) -> None:
    listed, mistakes = read(tmp_path, '\ufeffland,region\nDE,eu\n"F,R",eu\nUS,na\n')
    assert (listed.header, mistakes) == (("land", "region"), [])
    assert listed.rows == (("DE", "eu"), ("F,R", "eu"), ("US", "na"))
    assert listed.regions == ("eu", "na")
    listed, mistakes = read(tmp_path, "DE,eu\nFR,eu\n")
    assert (listed.rows, mistakes) == ((("DE", "eu"), ("FR", "eu")), [])
    assert listed.text() == "value,region\nDE,eu\nFR,eu\n"


def test_all_mistakes_of_a_map_are_named_at_once(tmp_path: Path) -> None:
    _, mistakes = read(tmp_path, "land,region\nDE,EU\nFR,eu\nFR,na\nx\nUS,na,1\nJP,x y\n")
    assert mistakes == [
        "map.csv: 2 lines (5, 6) have not 2 columns",
        "map.csv, line 2: 'EU' is no region code (a lower-case letter, then at most 15 of a-z, "
        "0-9 and _)",
        "map.csv, line 7: 'x y' is no region code (a lower-case letter, then at most 15 of a-z, "
        "0-9 and _)",
        "map.csv: 1 line(s) repeat an earlier one: 4 (as 3)",
    ]
    _, mistakes = read(tmp_path, "land,region\n")
    assert mistakes == ["map.csv: it holds no line of data"]
    with pytest.raises(UsageError, match="cannot read"):
        rule.read_csv(tmp_path / "none.csv", 2, ("value", "region"))


def towns() -> MetaData:
    metadata = MetaData(schema="public")
    table(metadata, "land", Column("region", Text))
    table(metadata, "town", key("land_id", "public.land"))
    table(metadata, "client", key("town_id", "public.town"), Column("name", Text))
    return metadata


@pytest.mark.parametrize(
    ("path", "problem", "over"),
    [
        ("name", "", set()),
        ("town_id", "", {"town"}),
        ("town_id.land_id.region", "", {"town", "land"}),
        ("nam", "'client' has no column 'nam' (near: name)", set()),
        ("name.x", "'name' is no foreign key of 'client' (near: town_id)", set()),
        ("town.land_id", "'town' is no column of 'client' (near: town_id)", set()),
        ("town_id.land_id.regio", "'land' has no column 'regio' (near: region)", set()),
        ("town_id.land_id.id.x", "'id' is no foreign key of 'land', which has none", set()),
    ],
)
def test_a_path_is_followed_or_the_nearest_names_are_given(
    path: str, problem: str, over: set[str]
) -> None:
    problems, found = rule.path_problems(towns(), "client", path, "public")
    assert problems == ([f"{path!r}: {problem}"] if problem else [])
    assert found == over


# regionkit.toml -------------------------------------------------------------------------------


def seen(*stated: Stated, open_: tuple[Decision, ...] = ()) -> Seen:
    metadata = towns()
    Table("half.way", metadata, Column("a", Text, primary_key=True))
    placement = infer(metadata, "client", default_schema="public")
    return Seen(
        database="Shop No 1",
        default_schema="public",
        schemas=("public", "sales"),
        taken_schemas=("public", "sales", "public_regional"),
        root="client",
        rule=Rule(sql="CASE WHEN root.name = 'a\"b' THEN 'eu' END"),
        topology=TOPOLOGY,
        metadata=metadata,
        extras=(),
        decisions=Decisions(placement),
        stated=stated,
        open=open_,
    )


TOWN = Stated("town", Statement(home=("land_id",), same_region=(("a", "b"),)), "For a reason.")
ODD = Stated("half.way", Statement(kind=Kind.shared), 'Of "course".')
ASKED = Decision("land", "whose is it", (answer("land", Statement(kind=Kind.shared)),))


def test_a_new_file_can_be_read_and_says_why() -> None:
    text = projectfile.written(seen(TOWN, ODD, open_=(ASKED,)), alone=True)
    raw = tomllib.loads(text)
    File.model_validate(raw)
    assert raw["source"]["schemas"] == ["sales"]
    assert raw["target"]["postgres"]["schema"] == "public_regional_layout"
    assert raw["target"]["mongo"] == {
        "database": "Shop_No_1_regional",
        "allow_single_member": True,
    }
    assert raw["placement"] == {
        "town": {"home": "land_id", "same_region": [["a", "b"]]},
        "half.way": {"kind": "global"},
    }
    assert "# For a reason.\n[placement.town]" in text
    assert '# [placement.land]\n# kind = "global"' in text
    assert (
        "allow_single_member"
        not in tomllib.loads(projectfile.written(seen(), alone=False))["target"]["mongo"]
    )


def test_a_later_look_keeps_every_line() -> None:
    mine = (
        "[source]\nschema = 'public' # mine\n[root]\ntable = 'client'\n[root.region]\n"
        "sql = '''\n[placement.land]\n'''\n[regions]\ngl = {}\n"
        "[placement.gone]\nkind = 'global'\n[[invariant]]\nname = 'x'\nsql = '''\n"
        "select '[placement.gone]'\n'''\n[placement.town]\nkind = 'global'"
    )
    text, said = projectfile.merged(mine, seen(TOWN, ODD, open_=(ASKED,)))
    assert said == [
        "[placement.gone] became a comment: the table is gone",
        "[regions.eu] is new",
        '[placement."half.way"] is new: kind = "global"',
    ]
    left = [line for line in text.splitlines() if not line.startswith("# (gone)")]
    kept = [line for line in mine.splitlines() if "gone" not in line and line != "kind = 'global'"]
    assert [line for line in left if line in kept] == [
        line for line in mine.splitlines() if line in kept
    ]
    raw = tomllib.loads(text)
    assert raw["placement"] == {"town": {"kind": "global"}, "half.way": {"kind": "global"}}
    assert raw["invariant"][0]["sql"] == "select '[placement.gone]'\n"
    # Once more, nothing is added.
    assert projectfile.merged(text, seen(TOWN, ODD, open_=(ASKED,))) == (text, [])


@given(st.text(min_size=1).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_any_name_can_be_written(name: str) -> None:
    raw = tomllib.loads(f"{toml_key(name)} = {toml_string(name)}")
    assert raw == {name: name}


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=63),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=63),
)
def test_any_statement_can_be_read_again(table_name: str, column: str) -> None:
    statement = Statement(home=(column,), same_region=((column,), (column, "b")), orphans="eu")
    raw = tomllib.loads("\n".join(answer(table_name, statement)))
    assert raw["placement"][table_name] == {
        "home": column,
        "same_region": [column, [column, "b"]],
        "orphans": "eu",
    }


def test_ownership_is_written_as_it_is_read() -> None:
    through = Statement(owned_through=Through("mandate", ("a", "b")))
    assert answer("account", through)[1] == 'owned_through = "mandate via a, b"'
    assert answer("entry", Statement(owner=("account", ("no",))))[1] == 'owner = "account via no"'


# What changed ----------------------------------------------------------------------------------


def test_every_change_of_the_schema_is_a_line() -> None:
    old, new = towns(), MetaData(schema="public")
    table(new, "land", Column("region", Text, nullable=False), UniqueConstraint("region", name="u"))
    table(new, "town", key("land_id", "public.land"), Column("size", Text))
    table(new, "visit")
    assert changes.of_schema(old, old, "public") == []
    assert changes.of_schema(old, new, "public") == [
        "table client is gone",
        "table visit is new (1 columns)",
        "table land: column region is 'region TEXT NOT NULL' instead of 'region TEXT'",
        "table land: has CONSTRAINT u UNIQUE (region)",
        "table town: column size is new: size TEXT",
    ]


def test_every_change_of_the_rest_is_a_line() -> None:
    old = parse("-- regionkit: function a\nSELECT 1;\n-- regionkit: trigger t on x\nSELECT 2;\n")
    new = parse("-- regionkit: function a\nSELECT 3;\n-- regionkit: function b\nSELECT 2;\n")
    assert changes.of_extras(old, new) == [
        "trigger t on x is gone",
        "function b is new",
        "function a has changed",
    ]


def test_an_edit_is_told_from_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "extras.sql"
    assert reading.is_as_written(path)
    text = reading.marked("-- regionkit: function a\nSELECT 1;\n", "--")
    path.write_text(text, encoding="utf-8")
    assert reading.is_as_written(path)
    path.write_text(text.replace("1", "2", 1) + "x", encoding="utf-8")
    assert not reading.is_as_written(path)
    path.write_text(text + "-- more\n", encoding="utf-8")
    assert not reading.is_as_written(path)
    assert reading.was_written_as(path, text)
    assert not reading.was_written_as(path, reading.marked("other", "--"))
    path.write_text("SELECT 1", encoding="utf-8")
    assert not reading.is_as_written(path)
