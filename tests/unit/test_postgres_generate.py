"""The revision of a layout: its operations in order, its file, and what that file would run."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Enum,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects import postgresql

from tests.unit.support import SCHEMA, Built, key, laid_out, one_line, table
from toolkit.errors import Refused
from toolkit.extras import Extra, ExtraKind
from toolkit.layout import Layout
from toolkit.placement import Kind, Statement
from toolkit.postgres import revisions
from toolkit.postgres.generate import generate, operations, render
from toolkit.topology import Region, Topology

SHARED = Statement(Kind.shared)
GUARD = "current_setting('regionkit.moving', true) IS DISTINCT FROM 'on'"
EXTRAS = (
    Extra(
        ExtraKind.function,
        "note",
        "CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS $$\n"
        "begin\n  if new.a = ':x' then raise '100% \\:y'; end if; return new;\nend $$",
    ),
    Extra(
        ExtraKind.trigger,
        "note_account",
        "CREATE TRIGGER note_account AFTER INSERT ON shop.account FOR EACH ROW "
        "EXECUTE FUNCTION shop.note()",
        "account",
    ),
    Extra(
        ExtraKind.trigger,
        "note_country",
        "CREATE TRIGGER note_country AFTER INSERT ON shop.country FOR EACH ROW "
        "EXECUTE FUNCTION shop.note()",
        "country",
    ),
)


def shop(*more: object) -> MetaData:
    """Return a schema with one of everything, and the characters that go wrong easily."""
    metadata = MetaData(schema="shop")
    mood = Enum("good", "b'ad", name="mood", schema="shop")
    client = Table(
        "client",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("email", Text, unique=True),
        Column("mood", mood, server_default=text("'good'::shop.mood")),
        Column("moods", postgresql.ARRAY(mood)),
        Column("odd", Text, server_default=text("'it''s 50%s \\:x'")),
        Column("made", Text, Computed("upper(odd) || ' \\:z%'", persisted=True)),
        Column("default_id", Integer),
        CheckConstraint("odd LIKE '%\\:a%' AND mood <> 'good'::shop.mood", name="50%"),
        *more,  # type: ignore[arg-type]
        comment="it's 50% of :all",
    )
    Index("i1", func.lower(client.c.odd).label("low"), postgresql_ops={"low": "text_pattern_ops"})
    Index("i2", client.c.odd, postgresql_where=text("odd <> ' \\:b%'"))
    Index("i3", client.c.odd + client.c.email, client.c.id)
    table(metadata, "country")
    table(
        metadata,
        "account",
        key("client_id", "shop.client", nullable=True, ondelete="SET NULL"),
        key("country_id", "shop.country"),
        Column("main", Boolean),
    )
    table(metadata, "gift", key("giver", "shop.account"), key("taker", "shop.account"))
    return metadata


def shop_layout(*more: object, regions: tuple[str, ...] = ("gl", "eu")) -> Layout:
    return laid_out(
        shop(*more),
        {"gift": Statement(home=("giver",))},
        default_schema="shop",
        topology=Topology(tuple(Region(code) for code in regions)),
    )


class Project:
    """A folder with an Alembic environment."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "regionkit.toml"
        self.folder = folder / "migrations"

    def generate(self, layout: Layout, **options: object) -> tuple[Path, bool]:
        [only] = self.generate_all(layout, **options)
        return only

    def generate_all(self, layout: Layout, **options: object) -> list[tuple[Path, bool]]:
        return generate(layout, SCHEMA, self.folder, self.config, **options)  # type: ignore[arg-type]

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    @property
    def script(self) -> ScriptDirectory:
        config = Config()
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        return ScriptDirectory.from_config(config)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("a_revision", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def offline(path: Path, direction: str = "upgrade") -> list[str]:
    """Return the statements that a revision would run, one line each."""
    output = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},
        opts={"as_sql": True, "output_buffer": output, "literal_binds": True},
    )
    with Operations.context(context):
        getattr(module(path), direction)()
    return [one_line(statement) for statement in output.getvalue().split(";\n\n") if statement]


# What the file runs -------------------------------------------------------------------------


def test_the_revision_makes_what_the_layout_says(project: Project) -> None:
    """Tables, columns, checks and indexes are those of the MetaData, to the letter."""
    layout = shop_layout()
    path, _ = project.generate(layout, extras=EXTRAS)
    ran = offline(path)
    unquoted = [sql.replace('"', "").replace("FOREIGN KEY (", "FOREIGN KEY(") for sql in ran]
    made = Built(layout)
    for name in ("client", "account", "gift", "country", "region", "client_region"):
        (create,) = [sql for sql in ran if sql.startswith(f"CREATE TABLE r.{name} (")]
        for line in made.lines(name):
            if line != ")" and "FOREIGN KEY" not in line:
                assert line in create
        for line in made.indexes(name):
            assert line in ran
        for line in made.lines(name):
            if "FOREIGN KEY" in line:
                wanted = line.replace('"', "").replace("FOREIGN KEY (", "FOREIGN KEY(")
                assert f"ALTER TABLE r.{name} ADD {wanted}" in unquoted


def test_the_statements_one_by_one(project: Project) -> None:
    path, _ = project.generate(shop_layout(), extras=EXTRAS)
    ran = offline(path)
    assert 'CREATE SCHEMA IF NOT EXISTS "r"' in ran[0]
    for expected in (
        "CREATE TYPE \"r\".\"mood\" AS ENUM ('good', 'b''ad')",
        'CREATE SEQUENCE "r"."client_id_seq"',
        'CREATE TABLE "r"."client_gl" PARTITION OF "r"."client" FOR VALUES IN (\'gl\')',
        'INSERT INTO "r"."region" (code) VALUES (\'gl\')',
        "CREATE INDEX i1 ON r.client (lower(odd) text_pattern_ops)",
        "CREATE INDEX i2 ON r.client (odd) WHERE odd <> ' :b%'",
        "CREATE INDEX i3 ON r.client ((odd || email), id)",
        "COMMENT ON TABLE r.client IS 'it''s 50% of :all'",
        'ALTER TABLE "r"."account" ADD CONSTRAINT "account_client_id_fkey" '
        'FOREIGN KEY ("client_id", "region") REFERENCES "r"."client" ("id", "region") '
        'ON DELETE SET NULL ("client_id") ON UPDATE CASCADE DEFERRABLE INITIALLY IMMEDIATE',
        'ALTER TABLE "r"."gift" ADD CONSTRAINT "gift_taker_fkey" '
        'FOREIGN KEY ("taker", "taker_region") REFERENCES "r"."account" ("id", "region") '
        "MATCH FULL ON UPDATE CASCADE DEFERRABLE INITIALLY IMMEDIATE",
        'CREATE TRIGGER note_country AFTER INSERT ON "r".country FOR EACH ROW '
        'EXECUTE FUNCTION "r".note()',
        'CREATE TRIGGER note_account AFTER INSERT ON "r".account FOR EACH ROW '
        f'WHEN ({GUARD}) EXECUTE FUNCTION "r".note()',
    ):
        assert expected in ran
    (client,) = [sql for sql in ran if sql.startswith("CREATE TABLE r.client (")]
    for expected in (
        "odd TEXT DEFAULT 'it''s 50%s :x'",
        "made TEXT GENERATED ALWAYS AS (upper(odd) || ' :z%') STORED",
        "CONSTRAINT \"50%\" CHECK (odd LIKE '%:a%' AND mood <> 'good'::\"r\".mood)",
        "mood r.mood DEFAULT 'good'::\"r\".mood",
        "moods r.mood[]",
    ):
        assert expected in client
    (function,) = [sql for sql in ran if ".note() RETURNS" in sql]
    assert "if new.a = ':x' then raise '100% \\:y'; end if" in function
    assert sum(sql.startswith("CREATE TYPE") for sql in ran) == 1
    assert not any("%%" in sql for sql in ran)


def test_the_way_back_drops_everything_in_reverse(project: Project) -> None:
    path, _ = project.generate(shop_layout(), extras=EXTRAS)
    made, dropped = offline(path), offline(path, "downgrade")
    assert dropped[0] == 'DROP TRIGGER "note_country" ON "r"."country"'
    assert dropped[-1] == 'DROP SCHEMA "r"'
    for kind in ("TABLE", "TYPE", "SEQUENCE", "FUNCTION", "TRIGGER", "INDEX"):

        def names(ran: list[str], verb: str, kind: str = kind) -> set[str]:
            found = (re.match(rf'{verb} (?:UNIQUE )?{kind} ([\w."]+)', sql) for sql in ran)
            return {one[1].replace('"', "").split(".")[-1] for one in found if one}

        assert names(made, "CREATE") == names(dropped, "DROP"), kind
        assert names(made, "CREATE"), kind
    detached = [sql for sql in dropped if "DETACH" in sql]
    assert len(detached) == 2 * 3, "no region is dropped before it is detached"


def test_a_region_leaves_the_list_before_its_tables_go() -> None:
    layout = shop_layout(regions=("gl",))
    (create,) = [op for op in operations(layout, SCHEMA) if isinstance(op, CREATE_REGION)]
    drop = create.reverse()
    output = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": output}
    )
    Operations(context).invoke(drop)
    ran = [one_line(sql) for sql in output.getvalue().split(";\n\n") if sql]
    assert ran[0] == 'DELETE FROM "r"."region" WHERE code = \'gl\''
    assert ran[1:3] == [
        'ALTER TABLE "r"."gift" DETACH PARTITION "r"."gift_gl"',
        'DROP TABLE "r"."gift_gl"',
    ]
    assert ran[-1] == 'DROP TABLE "r"."client_gl"'


CREATE_REGION = revisions.CreateRegionOp

# The order ----------------------------------------------------------------------------------


def test_a_key_keeps_what_alembic_does_not_write_down(project: Project) -> None:
    metadata = shop()
    Table(
        "entry",
        metadata,
        Column("no", Integer),
        Column("note", Text),
        key("client_id", "shop.client"),
        PrimaryKeyConstraint(
            "no",
            name="entry_pk",
            deferrable=True,
            initially="DEFERRED",
            postgresql_include=["note"],
        ),
        schema="shop",
    )
    layout = laid_out(metadata, {"gift": Statement(home=("giver",))}, default_schema="shop")
    path, _ = project.generate(layout)
    (create,) = [sql for sql in offline(path) if sql.startswith("CREATE TABLE r.entry (")]
    assert (
        "CONSTRAINT entry_pk PRIMARY KEY (no, region) INCLUDE (note) DEFERRABLE INITIALLY DEFERRED"
    ) in create


def test_the_order_of_the_operations() -> None:
    found = operations(shop_layout(), SCHEMA, EXTRAS)
    kinds = [type(op) for op in found]
    order = [
        revisions.CreateRegionalSchemaOp,
        revisions.CreateEnumOp,
        revisions.CreateSequenceOp,
        ops.CreateTableOp,
        revisions.CreateRegionListOp,
        revisions.CreateLinkOp,
        revisions.CreateRegionalTableOp,
        ops.CreateIndexOp,
        revisions.CreateRegionOp,
        revisions.AddForeignKeyOp,
        revisions.CreateKeyTableOp,
        revisions.CarryFunctionOp,
        revisions.CarryTriggerOp,
    ]
    assert list(dict.fromkeys(kinds)) == order
    assert [order.index(kind) for kind in kinds] == sorted(order.index(kind) for kind in kinds)
    tables = [op.table_name for op in found if isinstance(op, revisions.CreateRegionalTableOp)]
    assert tables == ["client", "account", "gift"], "parents first"
    regions = [op for op in found if isinstance(op, revisions.CreateRegionOp)]
    assert [op.code for op in regions] == ["gl", "eu"]
    assert list(regions[1].partitions.items()) == [
        ("client", "client_eu"),
        ("account", "account_eu"),
        ("gift", "gift_eu"),
    ]


def test_every_operation_can_be_taken_back_and_written_down() -> None:
    for op in operations(shop_layout(), SCHEMA, EXTRAS):
        assert "op." in render([op])
        assert "op." in render([op.reverse()])


def test_a_trigger_on_a_table_that_does_not_exist() -> None:
    stray = Extra(ExtraKind.trigger, "t", EXTRAS[1].definition, "acount")
    with pytest.raises(Refused, match="trigger 't' of the extras is on 'acount'") as caught:
        operations(shop_layout(), SCHEMA, [stray])
    assert "-- regionkit: trigger" in caught.value.hint


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = Project(tmp_path / "a"), Project(tmp_path / "b")
    one.generate(shop_layout(), extras=EXTRAS)
    other.generate(shop_layout(), extras=EXTRAS)
    assert one.files() == other.files()
    assert set(one.files()) == {
        "env.py",
        "script.py.mako",
        "versions/0001_create_the_regional_schema.py",
    }


def test_the_same_text_in_another_process() -> None:
    """The order of a set must not reach the file: it changes with the seed of the hashes."""
    program = (
        "from tests.unit.test_postgres_generate import *\n"
        "print(render(operations(shop_layout(), SCHEMA, EXTRAS)))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert texts == {render(operations(shop_layout(), SCHEMA, EXTRAS)) + "\n"}


def test_an_unchanged_model_writes_nothing(project: Project) -> None:
    path, new = project.generate(shop_layout(), extras=EXTRAS)
    assert new
    before = project.files()
    assert project.generate(shop_layout(), extras=EXTRAS) == (path, False)
    assert project.generate(shop_layout(), extras=EXTRAS, write=False) == (path, False)
    assert project.generate(shop_layout(), extras=EXTRAS, message="another") == (path, False)
    assert project.files() == before


def test_asking_only_writes_nothing(project: Project) -> None:
    path, new = project.generate(shop_layout(), write=False)
    assert new
    assert not project.folder.exists()
    assert project.generate(shop_layout()) == (path, True)


@pytest.mark.parametrize("change", ["column", "region", "extras", "default"])
def test_a_changed_model_is_refused(project: Project, change: str) -> None:
    path, _ = project.generate(shop_layout(Column("more", Text)), extras=EXTRAS)
    before = project.files()
    layout, extras = shop_layout(Column("more", Text)), EXTRAS
    if change == "column":
        layout = shop_layout(Column("more", Integer))
    elif change == "default":
        layout = shop_layout(Column("more", Text, server_default="x"))
    elif change == "region":
        layout = shop_layout(Column("more", Text), regions=("gl", "eu", "us"))
    else:
        extras = EXTRAS[:2]
    for write in (True, False):
        with pytest.raises(Refused, match=f"changed since {path.name}") as caught:
            project.generate(layout, extras=extras, write=write)
        assert "alembic revision" in caught.value.hint
    assert project.files() == before


def test_what_cannot_be_carried_writes_nothing(project: Project) -> None:
    metadata = shop()
    table(metadata, "odd", key("client_id", "shop.client", onupdate="SET NULL"))
    layout = laid_out(metadata, {"gift": Statement(home=("giver",))}, default_schema="shop")
    with pytest.raises(Refused, match="ON UPDATE SET NULL"):
        project.generate(layout)
    assert not project.folder.exists()


def test_the_file_is_an_alembic_revision(project: Project) -> None:
    path, _ = project.generate(shop_layout(), message="Create it: now!")
    assert path.name == "0001_create_it_now.py"
    assert project.script.get_heads() == ["0001"]
    found = module(path)
    assert (found.revision, found.down_revision) == ("0001", None)
    assert found.__doc__ == "Create it: now!"
    assert re.fullmatch("[0-9a-f]{64}", found.model_digest)


def test_a_revision_can_be_added_by_hand(project: Project) -> None:
    """As the refusal of a changed model says: 'alembic revision' uses the same template."""
    project.generate(shop_layout())
    script = project.script.generate_revision("0002", "by hand")
    assert script is not None
    assert script.down_revision == "0001"
    assert module(Path(script.path)).model_digest == ""


def test_the_environment_of_the_operator_is_kept(project: Project) -> None:
    project.folder.mkdir()
    (project.folder / "env.py").write_text("# mine\n")
    project.generate(shop_layout())
    assert (project.folder / "env.py").read_text() == "# mine\n"


def test_the_environment_finds_the_configuration(project: Project) -> None:
    project.generate(shop_layout())
    written = (project.folder / "env.py").read_text()
    assert 'run(Path(__file__).resolve().parent / "../regionkit.toml")' in written
    compile(written, "env.py", "exec")


@pytest.mark.parametrize("name", ["50% off", "größe", "it's"])
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    project = Project(tmp_path / name)
    path, new = project.generate(shop_layout())
    assert new
    assert path.parent == project.folder / "versions"
    assert project.script.get_heads() == ["0001"]


# Types in the file --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "sql"),
    [
        (postgresql.JSONB(), "JSONB"),
        (postgresql.DATERANGE(), "DATERANGE"),
        (postgresql.TIMESTAMP(timezone=True, precision=3), "TIMESTAMP(3) WITH TIME ZONE"),
        (postgresql.INTERVAL(), "INTERVAL"),
        (postgresql.ARRAY(Text, dimensions=2), "TEXT[][]"),
        (postgresql.BIT(3, varying=True), "BIT VARYING(3)"),
        (postgresql.TSVECTOR(), "TSVECTOR"),
        (postgresql.CITEXT(), "CITEXT"),
        (Enum("a", "b%", native_enum=False, length=5), "VARCHAR(5)"),
    ],
    ids=repr,
)
def test_a_type_survives_the_file(project: Project, type_: object, sql: str) -> None:
    path, _ = project.generate(shop_layout(Column("c", type_)))  # type: ignore[call-overload]
    (client,) = [one for one in offline(path) if one.startswith("CREATE TABLE r.client (")]
    assert f" c {sql}, " in client


def test_a_type_that_only_postgresql_knows_survives_the_file(project: Project) -> None:
    from toolkit.types import PostgresNamed

    path, _ = project.generate(shop_layout(Column("c", PostgresNamed("geometry(Point,4326)"))))
    (client,) = [one for one in offline(path) if one.startswith("CREATE TABLE r.client (")]
    assert " c geometry(Point,4326), " in client


def test_identities_survive_the_file(project: Project) -> None:
    metadata = shop()
    Table(
        "note",
        metadata,
        Column("id", Integer, Identity(always=True, start=5, increment=2, cache=9)),
        key("client_id", "shop.client"),
    )
    layout = laid_out(metadata, {"gift": Statement(home=("giver",))}, default_schema="shop")
    ran = offline(project.generate(layout)[0])
    (note,) = [one for one in ran if one.startswith("CREATE TABLE r.note (")]
    assert "id INTEGER GENERATED ALWAYS AS IDENTITY (INCREMENT BY 2 START WITH 5 CACHE 9)" in note
