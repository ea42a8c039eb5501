"""``regionkit generate``: the migrations of the layouts, from the schema and the topology."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import Backend, BackendOption, ConfigOption, Project, open_project
from toolkit.errors import ChangesPending
from toolkit.mongo import revisions as mongo_revisions
from toolkit.postgres import generate as postgres_generate
from toolkit.postgres.apply import Revisions


def generate(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    message: Annotated[
        str, typer.Option("-m", "--message", help="What the migration is about.")
    ] = "create the regional schema",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 3 if something would be written.")
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL of the PostgreSQL revisions instead.")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Write the migrations that create the layouts.

    An Alembic revision goes to migrations_sql/versions, a MongoDB migration to
    migrations_nosql/versions. A layout of so many tables that one transaction of PostgreSQL could
    not lock them all is divided into several revisions. All of it follows from the schema, the
    topology and the placement alone: the same inputs give the same files, and nothing is written
    where nothing has changed.
    """
    project = open_project(config)
    if sql:
        _print_sql(project)
        return
    for note in project.notes:
        stderr().print(f"note: {note}", markup=False)
    written: list[dict[str, object]] = []
    for name in backend.names:
        for path, new in (_postgres if name == "postgres" else _mongo)(project, message, not check):
            written.append({"backend": name, "file": _shown(path), "new": new})
    if output is Output.json:
        print_json({"migrations": written})
    else:
        for entry in written:
            word = "would write" if check and entry["new"] else "wrote" if entry["new"] else "kept"
            stdout().print(f"{entry['backend']}: {word} {entry['file']}", markup=False)
    new_files = [str(entry["file"]) for entry in written if entry["new"]]
    if check and new_files:
        raise ChangesPending(
            f"{len(new_files)} migration(s) are not generated",
            details=new_files,
            hint="run 'regionkit generate' and commit what it writes",
        )
    if new_files:
        stderr().print("next: regionkit apply --dry-run")


def _postgres(project: Project, message: str, write: bool) -> list[tuple[Path, bool]]:
    configuration = project.configuration
    return postgres_generate.generate(
        project.layout,
        configuration.target_schema,
        configuration.sql_migrations,
        configuration.path,
        extras=project.extras,
        message=message,
        write=write,
        budget=configuration.file.target.postgres.transaction_locks,
    )


def _mongo(project: Project, message: str, write: bool) -> list[tuple[Path, bool]]:
    return [
        mongo_revisions.generate(
            project.layout, project.configuration.nosql_migrations, message, write=write
        )
    ]


def _print_sql(project: Project) -> None:
    configuration = project.configuration
    statements = Revisions(
        configuration.sql_migrations, configuration.target_schema, None, "postgres"
    ).sql()
    stdout().print(statements, markup=False)


def _shown(path: Path) -> str:
    return os.path.relpath(path)
