"""Migration files: deterministic, readable, one chain."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson.binary import Binary
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    ForeignKey,
    Identity,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
)

from toolkit.errors import Refused
from toolkit.layout import Layout, decide
from toolkit.mongo.ddl import (
    CreateCollection,
    CreateRegion,
    CreateRegionalCollections,
    CreateRegionList,
    CreateView,
    DropCollections,
    Operation,
)
from toolkit.mongo.inspect import same
from toolkit.mongo.layout import collections
from toolkit.mongo.render import literal
from toolkit.mongo.revisions import checksum, generate, load_history, load_revision, slug
from toolkit.placement import infer
from toolkit.topology import Region, Topology


def shop(*more: Any) -> Layout:
    metadata = MetaData()
    Table(
        "buyer",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("mail", Text, unique=True, comment='It\'s "quoted" \\ and long ' + "word " * 30),
        Column("score", Numeric, unique=True),
        Column("since", Date, unique=True),
        Column("face", LargeBinary, unique=True),
        *more,
    )
    Table(
        "basket",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("buyer_id", BigInteger, ForeignKey("buyer.id")),
    )
    topology = Topology((Region("n"), Region("s")))
    return decide(metadata, topology, infer(metadata, "buyer"))


def write(folder: Path, name: str, revision: str, down: str | None, body: str = "pass") -> Path:
    path = folder / "versions" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f"revision = {revision!r}\ndown_revision = {down!r}\nmodel_digest = 'm'\n\n"
        f"def upgrade(op):\n    {body}\n\ndef downgrade(op):\n    pass\n",
        encoding="utf-8",
    )
    return path


def test_what_is_generated_does_what_the_layout_says(tmp_path: Path) -> None:
    path, _ = generate(shop(), tmp_path, "The shop, at first!")
    assert path == tmp_path / "versions" / "0001_the_shop_at_first.py"
    (revision,) = load_history(tmp_path)
    assert (revision.revision, revision.down_revision) == ("0001", None)
    wanted = collections(shop())
    assert revision.model_digest == wanted.digest()
    done = revision.upgrades()
    created = [part for one in done for part in _creations(one)]
    assert [part.name for part in created] == [one.name for one in wanted.collections()]
    for part, one in zip(created, wanted.collections(), strict=True):
        assert same(part.validator, one.validator)
        assert part.collation == one.collation
        assert len(part.indexes) == len(one.indexes)
        for index, expected in zip(part.indexes, one.indexes, strict=True):
            assert index.keys == expected.keys
            assert same(index.partial, expected.partial)
            assert index.unique == expected.unique
    assert [one.name for one in done if isinstance(one, CreateView)] == ["buyer", "basket"]
    names = sorted(name for one in done for name in one.names())
    assert names == sorted(name for one in revision.downgrades() for name in one.names())


def _creations(operation: Operation) -> list[CreateCollection]:
    if isinstance(operation, CreateCollection):
        return [operation]
    if isinstance(operation, CreateRegionalCollections):
        return list(operation.parts())
    if isinstance(operation, CreateRegionList):
        return [CreateCollection(operation.name, operation.validator)]
    return []


def test_generating_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        path, _ = generate(shop(), tmp_path / name)
        assert path is not None
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_the_text_is_as_a_formatter_leaves_it(tmp_path: Path) -> None:
    path, _ = generate(shop(), tmp_path, "Shop")
    assert path is not None
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 100
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "100"]
    command = [*ruff, "--diff", str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == ""


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    assert generate(shop(), tmp_path)[1] is True
    assert generate(shop(), tmp_path)[1] is False
    assert len(list(tmp_path.rglob("*"))) == 2


def test_another_model_is_refused(tmp_path: Path) -> None:
    generate(shop(), tmp_path)
    with pytest.raises(Refused) as caught:
        generate(shop(Column("more", Text)), tmp_path)
    assert "not supported yet" in caught.value.hint


def test_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, "0001_a.py", "0001", None)
    before = sorted(tmp_path.rglob("*"))
    load_history(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_no_folder_is_an_empty_history(tmp_path: Path) -> None:
    assert load_history(tmp_path / "nowhere") == ()


def test_the_chain_gives_the_order(tmp_path: Path) -> None:
    write(tmp_path, "b.py", "2", "1")
    write(tmp_path, "c.py", "1", None)
    write(tmp_path, "a.py", "3", "2")
    assert [one.revision for one in load_history(tmp_path)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "chain",
    [
        [("1", None), ("2", "1"), ("3", "1")],
        [("1", None), ("2", None)],
        [("1", None), ("3", "2")],
        [("1", "1")],
        [("1", "2"), ("2", "1")],
        [("1", None), ("1", "1")],
    ],
)
def test_anything_but_one_chain_is_refused(
    tmp_path: Path, chain: list[tuple[str, str | None]]
) -> None:
    for number, (revision, down) in enumerate(chain):
        write(tmp_path, f"{number}.py", revision, down)
    with pytest.raises(Refused, match="one chain"):
        load_history(tmp_path)


@pytest.mark.parametrize(
    "text", ["syntax error(", "import nothing_of_that_name", "revision = '1'", "1 / 0", "\x00"]
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "0001_broken.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match=r"0001_broken\.py"):
        load_revision(path)


def test_a_broken_upgrade_is_named(tmp_path: Path) -> None:
    revision = load_revision(write(tmp_path, "0001_a.py", "1", None, "op.no_such_method()"))
    with pytest.raises(Refused, match=r"0001_a\.py"):
        revision.upgrades()


def test_a_checkout_elsewhere_is_no_edit() -> None:
    assert checksum("a = 1\nb = 2\n") == checksum("a = 1  \r\nb = 2\r\n\r\n")
    assert checksum("a = 1\n") != checksum("a = 2\n")
    assert checksum("if a:\n    b\n") != checksum("if a:\nb\n")


def test_slugs() -> None:
    assert slug("Add Größe, now!") == "add_gr_e_now"
    assert slug("...") == "collections"
    assert len(slug("x" * 200)) <= 40


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary().map(lambda data: Binary(data, 0)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@given(plain)
def test_a_literal_is_its_value(value: Any) -> None:
    names = {"Binary": Binary, "datetime": datetime, "UTC": UTC, "float": float}
    assert eval(literal(value), names) == value


def test_special_literals() -> None:
    assert literal(-math.inf) == 'float("-inf")'
    assert literal(datetime(1, 1, 1, tzinfo=UTC)) == "datetime(1, 1, 1, tzinfo=UTC)"
    with pytest.raises(TypeError):
        literal(object())


def test_every_operation_has_a_reverse() -> None:
    collection = CreateCollection("a", {})
    regional = CreateRegionalCollections("t", {"n": "t_n"}, "region", {"$jsonSchema": {}})
    region = CreateRegion("w", "region", (collection,))
    for one in (
        collection,
        regional,
        CreateRegionList("region", ("n",), {}),
        CreateView("v", ("a", "b")),
        region,
    ):
        back = one.reverse()
        assert back.names() == one.names()
        assert back.reverse() == one
        assert one.describe()
        assert back.describe()
        assert not one.destroys
    assert not CreateRegionList("region", ("n",), {}).reverse().destroys
    assert regional.reverse().destroys


def test_a_drop_by_name_alone_cannot_be_undone() -> None:
    with pytest.raises(Refused):
        DropCollections(("a",)).reverse()


def test_a_step_says_what_is_done() -> None:
    step = CreateView("v", ("a", "b")).step("mongo")
    assert (step.server, step.action, step.target, step.detail) == (
        "mongo",
        "create view",
        "v",
        "a, b",
    )
    assert DropCollections(("a",)).step("mongo", 5).reversible is False
