"""The Python source of a logical schema: what it says, and what running it gives."""

from __future__ import annotations

import string

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from toolkit.postgres import ddl, model
from toolkit.types import Composite, CustomRange, PostgresNamed

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def run(source: str) -> MetaData:
    names: dict[str, object] = {}
    exec(compile(source, "schema.py", "exec"), names)
    metadata = names["metadata"]
    assert isinstance(metadata, MetaData)
    return metadata


def statements(metadata: MetaData) -> list[str]:
    """Return everything that the tables of a model are, as SQL."""
    found = []
    for table in sorted(metadata.tables.values(), key=lambda table: table.key):
        lines = str(CreateTable(table).compile(dialect=_DIALECT)).splitlines()
        # Constraints stand in the order in which they were made.
        found += sorted(line.removesuffix(", ") for line in lines)
        found += sorted(
            str(CreateIndex(index).compile(dialect=_DIALECT)) for index in table.indexes
        )
        found += [f"{table.key}: {table.comment!r} {dict(table.info)!r}"]
        found += [f"{column.name}: {column.comment!r}" for column in table.columns]
    return found


def test_reads_like_a_model() -> None:
    metadata = MetaData(schema="shop")
    status = postgresql.ENUM("new", "old", name="status", schema="shop", create_type=False)
    sa.Table(
        "client",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        sa.Column("email", PostgresNamed("citext"), nullable=False),
        sa.Column("status", status, nullable=False, server_default=sa.text("'new'::shop.status")),
        sa.Column("balance", sa.Numeric(12, 2), comment="in euros"),
        sa.PrimaryKeyConstraint("id", name="client_pkey"),
        sa.UniqueConstraint("email", name="client_email_key"),
        sa.CheckConstraint("balance > 0", name="positive"),
        comment="The clients",
    )
    account = sa.Table(
        "account",
        metadata,
        sa.Column("id", sa.Integer, autoincrement=False),
        sa.Column("client_id", sa.BigInteger, nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True)),
        sa.Column("tags", postgresql.ARRAY(sa.String(20))),
        sa.PrimaryKeyConstraint("id", name="account_pkey"),
        sa.ForeignKeyConstraint(
            ["client_id"], ["shop.client.id"], name="account_client", ondelete="CASCADE"
        ),
    )
    sa.Index("account_opened", account.c.opened.desc(), account.c.id)
    sa.Index(
        "account_tags", account.c.tags, postgresql_using="gin", postgresql_where=sa.text("id > 7")
    )
    source = model.render(metadata)
    assert (
        source
        == '''"""The logical schema of the source, for regionkit."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from toolkit.types import PostgresNamed

metadata = sa.MetaData(schema="shop")

status = postgresql.ENUM("new", "old", name="status", schema="shop", create_type=False)

client = sa.Table(
    "client",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
    sa.Column("email", PostgresNamed("citext"), nullable=False),
    sa.Column("status", status, nullable=False, server_default=sa.text("'new'::shop.status")),
    sa.Column("balance", sa.Numeric(12, 2), comment="in euros"),
    sa.PrimaryKeyConstraint("id", name="client_pkey"),
    sa.UniqueConstraint("email", name="client_email_key"),
    sa.CheckConstraint("balance > 0", name="positive"),
    comment="The clients",
)

account = sa.Table(
    "account",
    metadata,
    sa.Column("id", sa.Integer, autoincrement=False),
    sa.Column("client_id", sa.BigInteger, nullable=False),
    sa.Column("opened", sa.DateTime(timezone=True)),
    sa.Column("tags", postgresql.ARRAY(sa.String(20))),
    sa.PrimaryKeyConstraint("id", name="account_pkey"),
    sa.ForeignKeyConstraint(
        ["client_id"],
        ["shop.client.id"],
        ondelete="CASCADE",
        name="account_client",
    ),
    sa.Index("account_tags", "tags", postgresql_using="gin", postgresql_where=sa.text("id > 7")),
)
sa.Index("account_opened", account.c.opened.desc(), account.c.id)
'''
    )
    assert statements(run(source)) == statements(metadata)


def test_tables_stand_below_what_they_reference_and_cycles_end() -> None:
    metadata = MetaData()
    for name, targets in {"a": "bz", "b": "c", "c": "a", "z": "z"}.items():
        sa.Table(
            name,
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            *(sa.Column(f"{one}_id", sa.Integer, sa.ForeignKey(f"{one}.id")) for one in targets),
        )
    source = model.render(metadata)
    places = [source.index(f"{name} = sa.Table(") for name in ("c", "b", "z", "a")]
    assert places == sorted(places)
    assert statements(run(source)) == statements(metadata)


def test_keys_to_names_with_dots_name_columns() -> None:
    metadata = MetaData(schema="s.t")
    other = sa.Table("o.p", metadata, sa.Column("a.b", sa.Integer), sa.UniqueConstraint("a.b"))
    sa.Table(
        "n",
        metadata,
        sa.Column("x.y", sa.Integer),
        sa.ForeignKeyConstraint(["x.y"], [other.c["a.b"]], name="dotted"),
    )
    source = model.render(metadata)
    assert 'n.append_constraint(sa.ForeignKeyConstraint(["x.y"], [o_p.c["a.b"]], ' in source
    assert statements(run(source)) == statements(metadata)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("client", "client"),
        ("class", "table_class"),
        ("match", "table_match"),
        ("2nd try", "table_2nd_try"),
        ("%", "table"),
        ("sa", "sa_table"),
        ("metadata", "metadata_table"),
        ("Straße", "Straße"),
        ("ﬁle", "file"),
    ],
)
def test_a_table_is_a_variable_that_python_takes(name: str, variable: str) -> None:
    metadata = MetaData()
    sa.Table(name, metadata, sa.Column("id", sa.Integer))
    source = model.render(metadata)
    assert f"\n{variable} = sa.Table(" in source
    assert list(run(source).tables) == [name]


def test_tables_that_look_alike_have_variables_of_their_own() -> None:
    metadata = MetaData(schema="s")
    names = ("a b", "a-b", "a_b", "ﬁ", "fi")
    for name in names:
        sa.Table(name, metadata, sa.Column("id", sa.Integer), sa.Index(f"i {name}", "id"))
    for table in list(metadata.tables.values()):
        sa.Index(f"d {table.name}", table.c.id.desc())
    assert statements(run(model.render(metadata))) == statements(metadata)


def test_types_are_defined_once_and_before_what_holds_them() -> None:
    metadata = MetaData(schema="s")
    mood = postgresql.ENUM("a", "b", name="mood", schema="s", create_type=False)
    point = Composite("point", ("x", sa.Numeric(4, 1)), ("m", mood), schema="other")
    span = CustomRange("span", sa.Numeric(), schema="s")
    word = postgresql.DOMAIN("word", postgresql.ARRAY(mood), schema="s", create_type=False)
    sa.Table("mood", metadata, *(sa.Column(name, mood) for name in "ab"))
    sa.Table(
        "t",
        metadata,
        sa.Column("p", postgresql.ARRAY(point, dimensions=2)),
        sa.Column("s", span),
        sa.Column("ss", CustomRange("spans", sa.Numeric(), schema="s", multi=True)),
        sa.Column("w", word),
    )
    source = model.render(metadata)
    assert source.count('name="mood"') == 1
    assert "from toolkit.types import Composite, CustomRange\n" in source
    assert statements(run(source)) == statements(metadata)
    again = run(source).tables["s.t"].columns["p"].type
    assert isinstance(again, postgresql.ARRAY)
    assert repr(again.item_type) == repr(point)


_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
_NAME = st.text(
    st.one_of(
        st.sampled_from(string.ascii_lowercase + "_ .:%\"'\\\n(){}$"),
        st.characters(categories=("L",)),
    ),
    min_size=1,
    max_size=8,
)


@given(
    st.lists(_NAME, min_size=2, max_size=4, unique=True),
    st.lists(_NAME, min_size=2, max_size=4, unique=True),
    _TEXT,
    _TEXT,
)
def test_running_it_gives_an_equal_model(
    tables: list[str], columns: list[str], comment: str, value: str
) -> None:
    metadata = MetaData(schema="some schema")
    default = sa.text(ddl.escape_binds(ddl.literal(value)))
    made = [
        sa.Table(
            name,
            metadata,
            *(sa.Column(column, sa.Text, server_default=default) for column in columns),
            sa.PrimaryKeyConstraint(*columns[:1], name=f"{name} key"),
            sa.CheckConstraint(ddl.escape_binds(f"true or {ddl.literal(value)} = ''"), name=name),
            comment=comment,
        )
        for name in tables
    ]
    for table, other in zip(made, [*made[1:], made[0]], strict=True):
        table.append_constraint(
            sa.ForeignKeyConstraint(columns[-1:], [other.c[columns[0]]], name=f"{table.name} ref")
        )
        sa.Index(f"{table.name} index", table.c[columns[0]].desc().nulls_last(), default)
    again = run(model.render(metadata))
    assert statements(again) == statements(metadata)
    assert {
        key: sorted(one.referred_table.key for one in table.foreign_key_constraints)
        for key, table in again.tables.items()
    } == {
        key: sorted(one.referred_table.key for one in table.foreign_key_constraints)
        for key, table in metadata.tables.items()
    }
