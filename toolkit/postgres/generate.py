"""From a layout to an Alembic revision: the operations in order, and the file they stand in."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation, ops
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Column,
    Enum,
    ForeignKeyConstraint,
    MetaData,
    Table,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import SchemaItem
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeEngine

from toolkit.config import TRANSACTION_LOCKS
from toolkit.errors import Refused
from toolkit.extras import Extra
from toolkit.layout import Layout
from toolkit.postgres import carry, ddl, locks, revisions
from toolkit.postgres.layout import Part, beside, build, info, key_tables
from toolkit.postgres.renaming import renames

_IMPORTS = ("import toolkit.postgres.revisions",)
_DIGEST = re.compile(r'^model_digest = "(?P<digest>[0-9a-f]{64})"$', re.M)
#: How a revision says that it is one of several, in its first line.
_PART = re.compile(r'\A""".* \(part (?P<part>\d+) of (?P<parts>\d+)\)"""')

_ENVIRONMENT = '''"""Alembic's environment: everything is in toolkit.postgres.environment."""

from pathlib import Path

from toolkit.postgres.environment import run

run(Path(__file__).resolve().parent / {config})
'''

_TEMPLATE = '''"""${message}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# What this revision was generated from. ``regionkit generate --check`` compares it.
model_digest = "${"" if model_digest is UNDEFINED else model_digest}"


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''


def operations(layout: Layout, schema: str, extras: Sequence[Extra] = ()) -> list[MigrateOperation]:
    """Return the operations that create a layout, in order.

    Tables first, then the partitions of each region, then foreign keys (so that keys in a cycle
    need no special case), then key tables, functions and triggers.

    Args:
        layout: the decisions.
        schema: the PostgreSQL schema of the layout.
        extras: functions and triggers of the source.

    Raises:
        Refused: something cannot be carried; it is named.
    """
    metadata = build(layout, schema, renames(layout, schema, extras))
    carried = carry.operations(layout, schema, extras)
    given = {op.name for op in carried.before if isinstance(op, revisions.CarryOp)}
    tables = _in_order(layout, metadata, schema)
    found: list[MigrateOperation] = [revisions.CreateRegionalSchemaOp(schema)]
    found += [
        revisions.CreateEnumOp(name, labels, schema=schema)
        for name, labels in _enums(tables)
        if name not in given
    ]
    found += [
        revisions.CreateDomainOp(name, definition, schema=schema)
        for name, definition in beside(metadata).domains.items()
        if name not in given
    ]
    found += [
        revisions.CreateSequenceOp(name, schema=schema)
        for name in sorted(sequence.name for sequence in metadata._sequences.values())
        if name not in given
    ]
    found += carried.before
    found += [_table_op(layout, table) for table in tables]
    found += [
        ops.CreateIndexOp.from_index(index)
        for table in tables
        for index in sorted(table.indexes, key=lambda index: str(index.name))
    ]
    regional = {
        name: info(metadata.tables[f"{schema}.{name}"])
        for name in map(layout.name, layout.regional)
    }
    found += [
        revisions.CreateRegionOp(
            code,
            {name: said.leaves[code] for name, said in regional.items()},
            schema=schema,
            region_list=layout.region_list,
            storage={name: said.storage for name, said in regional.items() if said.storage},
            unlogged=[name for name, said in regional.items() if said.unlogged],
        )
        for code in layout.topology.codes
    ]
    found += [
        revisions.AddForeignKeyOp.from_constraint(key)
        for table in tables
        for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name))
    ]
    found += [
        revisions.CreateKeyTableOp(key_table, schema=schema) for key_table in key_tables(metadata)
    ]
    return [*found, *carried.after]


def generate(
    layout: Layout,
    schema: str,
    folder: Path,
    config: Path,
    *,
    extras: Sequence[Extra] = (),
    message: str = "create the regional schema",
    write: bool = True,
    budget: int = TRANSACTION_LOCKS,
) -> list[tuple[Path, bool]]:
    """Write the revisions that create a layout, unless the newest ones already do.

    One revision is one transaction: a layout that takes more locks than the budget is divided into
    several, in a row. All of them carry the digest of the whole.

    Args:
        layout: the decisions.
        schema: the PostgreSQL schema of the layout.
        folder: the Alembic environment; it is created with ``env.py`` when it is missing.
        config: ``regionkit.toml``, for ``env.py``.
        extras: functions and triggers of the source.
        message: what the revisions are about.
        write: false only says whether files would be written.
        budget: how many locks one of them may take.

    Returns:
        Each revision's file, and whether it is (or would be) new.

    Raises:
        Refused: a revision exists that was generated from another model.
    """
    found = operations(layout, schema, extras)
    upgrades, downgrades = _bodies(found)
    digest = hashlib.sha256(f"{upgrades}\n{downgrades}".encode()).hexdigest()
    versions = folder / "versions"
    existing = sorted(versions.glob("*.py")) if versions.is_dir() else []
    if existing:
        newest = existing[-1]
        match = _DIGEST.search(newest.read_text(encoding="utf-8"))
        if match is None or match["digest"] != digest:
            raise Refused(
                f"the model has changed since {newest.name} was generated",
                hint="write the difference by hand with 'alembic revision', or delete the revision "
                "and generate it anew if it was never applied",
            )
    # The number of parts follows from the budget, which may have changed: files that are there
    # stay as they are, and where the last of them says that it is the last, all are there.
    of = _PART.search(existing[-1].read_text(encoding="utf-8")) if existing else None
    if existing and (of is None or of["part"] == of["parts"]):
        return [(path, False) for path in existing]
    parts = locks.split(found, budget)
    if existing:
        # Somebody stopped us in between. What is there was divided in the same way, or is refused.
        assert of is not None
        if int(of["parts"]) != len(parts):
            raise Refused(
                f"{existing[-1].name} is part {of['part']} of {of['parts']}, and the rest is "
                f"missing; now there would be {len(parts)} parts",
                hint="delete the revisions and generate them anew if they were never applied",
            )
    return [
        *((path, False) for path in existing),
        *_write(parts, len(existing), folder, config, message, digest, write),
    ]


def _write(
    parts: Sequence[Sequence[MigrateOperation]],
    there: int,
    folder: Path,
    config: Path,
    message: str,
    digest: str,
    write: bool,
) -> Iterable[tuple[Path, bool]]:
    """Write the revisions of all parts but the first few, which are there; yield each file."""
    slug = re.sub(r"\W+", "_", message.lower()).strip("_")[:40]
    versions = folder / "versions"
    if write:
        directory = _environment(folder, config)
    for number, part in enumerate(parts[there:], there + 1):
        revision = f"{number:04d}"
        path = versions / f"{revision}_{slug}.py"
        if not write:
            yield path, True
            continue
        upgrades, downgrades = _bodies(part)
        script = directory.generate_revision(
            revision,
            message if len(parts) == 1 else f"{message} (part {number} of {len(parts)})",
            upgrades=upgrades,
            downgrades=downgrades,
            imports="\n".join(sorted({*_IMPORTS, *_dialect_imports(upgrades)})),
            model_digest=digest,
        )
        assert script is not None
        yield Path(script.path).replace(path), True


def _bodies(found: Sequence[MigrateOperation]) -> tuple[str, str]:
    """Return the bodies of ``upgrade()`` and ``downgrade()``."""
    return render(found), render([op.reverse() for op in reversed(found)])


def _environment(folder: Path, config: Path) -> ScriptDirectory:
    """Return the Alembic environment in a folder, which is made where it is missing."""
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    environment = folder / "env.py"
    if not environment.exists():
        relative = Path(os.path.relpath(config, folder)).as_posix()
        environment.write_text(_ENVIRONMENT.format(config=json.dumps(relative)), encoding="utf-8")
    (folder / "script.py.mako").write_text(_TEMPLATE, encoding="utf-8")
    settings = Config()
    settings.set_main_option("script_location", str(folder).replace("%", "%%"))
    settings.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    directory = ScriptDirectory.from_config(settings)
    directory.messaging_opts = {"quiet": True}
    return directory


def render(found: Sequence[MigrateOperation]) -> str:
    """Return operations as the body of ``upgrade()`` or ``downgrade()``."""
    # "named", because the default style writes every % of an expression twice.
    context = MigrationContext.configure(
        dialect_name="postgresql", dialect_opts={"paramstyle": "named"}
    )
    plain = context.impl.render_ddl_sql_expr

    def escaped(expr: ClauseElement, is_server_default: bool = False, **options: Any) -> str:
        # Alembic writes an index's expression as literal_column(), everything else as text().
        sql = plain(expr, is_server_default=is_server_default, **options)
        return sql if options.get("is_index") else ddl.escape_binds(sql)

    context.impl.render_ddl_sql_expr = escaped  # type: ignore[method-assign]
    return render_python_code(
        ops.UpgradeOps(list(found)), migration_context=context, render_item=_rendered
    )


def _rendered(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Return an item as Python source where Alembic would leave something out."""
    if kind != "primary_key":
        return False
    options = {
        "deferrable": item.deferrable,
        "initially": item.initially,
        **{name: list(value) for name, value in item.dialect_kwargs.items() if value},
    }
    if not item.columns or not any(options.values()):
        return False
    arguments = [repr(column.name) for column in item.columns]
    arguments += [f"{key}={value!r}" for key, value in options.items() if value]
    return f"sa.PrimaryKeyConstraint({', '.join(arguments)}, name={str(item.name)!r})"


def _dialect_imports(source: str) -> Iterable[str]:
    if "postgresql." in source:
        yield "from sqlalchemy.dialects import postgresql"
    if re.search(r"(?<![\w.])ENUM\(", source):
        # Alembic leaves the prefix out in an array whose labels look like a regular expression.
        yield "from sqlalchemy.dialects.postgresql import ENUM"
    if "toolkit.types." in source:
        yield "import toolkit.types"


def _in_order(layout: Layout, metadata: MetaData, schema: str) -> list[Table]:
    """Return the tables in the order in which they are created, without the key tables."""
    regional = [layout.name(key) for key in layout.regional]
    shared = sorted(layout.name(key) for key in layout.shared)
    names = [*shared, layout.region_list, layout.link, *regional]
    return [metadata.tables[f"{schema}.{name}"] for name in names]


def _enums(tables: Sequence[Table]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for table in tables:
        for column in table.columns:
            type_ = column.type
            if isinstance(type_, postgresql.ARRAY):
                type_ = type_.item_type
            if isinstance(type_, Enum) and type_.native_enum:
                found[str(type_.name)] = list(type_.enums)
    return sorted(found.items())


_OPERATIONS: dict[Part, type[revisions.TableOp]] = {
    Part.regional: revisions.CreateRegionalTableOp,
    Part.link: revisions.CreateLinkOp,
    Part.region_list: revisions.CreateRegionListOp,
}


def _table_op(layout: Layout, table: Table) -> MigrateOperation:
    items: list[SchemaItem] = [_without_type_creation(column) for column in table.columns]
    items += [
        constraint
        for constraint in table.constraints
        if not isinstance(constraint, ForeignKeyConstraint)
    ]
    options: dict[str, Any] = {"schema": table.schema}
    if table.comment is not None:
        options["comment"] = table.comment
    said = info(table)
    if table._prefixes:
        options["prefixes"] = list(table._prefixes)
    if (storage := table.dialect_options["postgresql"].get("with")) is not None:
        options["postgresql_with"] = dict(storage)
    if said.part is Part.shared:
        return ops.CreateTableOp(table.name, items, **options)
    if said.part is Part.regional:
        options["region_column"] = layout.region_column
    return _OPERATIONS[said.part](table.name, items, options)


def _without_type_creation(column: Column[Any]) -> Column[Any]:
    """Return a copy of a column whose enum is created by an operation of its own."""
    type_ = column.type
    # Before it is copied: a type that was ever a column's is created with its table.
    column.type = _not_created(type_)
    copy: Column[Any] = column._copy()
    column.type = type_
    copy.foreign_keys.clear()
    return copy


def _not_created(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    if isinstance(type_, postgresql.ENUM):
        return postgresql.ENUM(
            *type_.enums, name=type_.name, schema=type_.schema, create_type=False
        )
    if isinstance(type_, postgresql.ARRAY) and isinstance(type_.item_type, postgresql.ENUM):
        return postgresql.ARRAY(_not_created(type_.item_type), dimensions=type_.dimensions)
    return type_
