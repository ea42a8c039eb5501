"""What ``env.py`` of an Alembic environment runs, under plain Alembic as under regionkit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import context
from sqlalchemy import Connection

import toolkit.postgres.revisions  # noqa: F401  (registers the operations)
from toolkit import config as configuration
from toolkit.errors import UsageError
from toolkit.names import shorten
from toolkit.postgres import ddl, session

#: Where regionkit keeps what was done, in the target.
JOURNAL_SCHEMA = "regionkit"


def version_table(schema: str) -> str:
    """Return the name of the table that holds the revision of the layout in ``schema``."""
    return shorten(f"{schema}_version")


def run(config: Path) -> None:
    """Run the migrations that Alembic asks for.

    ``regionkit apply`` hands its own connection over; plain Alembic gets one to the target that
    ``regionkit.toml`` and the environment name.

    Args:
        config: the project's ``regionkit.toml``.
    """
    project = configuration.load(config)
    schema = project.target_schema
    options: dict[str, Any] = {
        "version_table": version_table(schema),
        "version_table_schema": JOURNAL_SCHEMA,
        "transaction_per_migration": True,
    }
    if context.is_offline_mode():
        # "named", because the default style writes every % of a literal twice.
        context.configure(
            dialect_name="postgresql",
            dialect_opts={"paramstyle": "named"},
            literal_binds=True,
            **options,
        )
        with context.begin_transaction():
            context.execute(f"CREATE SCHEMA IF NOT EXISTS {ddl.quote(JOURNAL_SCHEMA)}")
            context.run_migrations()
        return
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        _migrate(given, options)
        return
    url = project.url("postgres")
    if url is None:
        raise UsageError(
            "no URL for the target PostgreSQL",
            hint=f"set {project.url_variable('postgres')}, or use 'regionkit apply' with the lab",
        )
    with session.engine(url, role="postgres").connect() as connection:
        _migrate(connection, options)


def _migrate(connection: Connection, options: dict[str, Any]) -> None:
    connection.execute(ddl.verbatim(ddl.ensure_schema(JOURNAL_SCHEMA)))
    connection.commit()
    context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()
