"""``regionkit init``: looks at an existing database and writes the project that moves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from toolkit import config
from toolkit.cli import personal
from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import Project, QuietOption, open_project
from toolkit.config import Configuration
from toolkit.errors import Refused, RegionkitError, UsageError
from toolkit.init import folder, report
from toolkit.init.look import look
from toolkit.init.seen import Request, Seen
from toolkit.lab import Lab, default_folder
from toolkit.mongo import session as mongo_session
from toolkit.placement import table_key


def init(
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="URL of the PostgreSQL to look at. Default: REGIONKIT_SOURCE_URL, then the lab.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            "--root", help="The table whose rows are clients. Without it, likely ones are named."
        ),
    ] = None,
    region_by: Annotated[
        str | None,
        typer.Option(
            "--region-by",
            metavar="PATH",
            help="The column that tells a client's region, or hops to it: branch_id.country.",
        ),
    ] = None,
    region_sql: Annotated[
        str | None,
        typer.Option(
            "--region-sql",
            metavar="EXPR",
            help="Instead: SQL over the root's row, called root, that gives the region's code.",
        ),
    ] = None,
    clients: Annotated[
        Path | None,
        typer.Option("--clients", help="Instead: a CSV file of client and region."),
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", help="With --region-by: a CSV file of value and region."),
    ] = None,
    schema: Annotated[
        list[str] | None,
        typer.Option("--schema", help="A schema to read; may be repeated. Default: all."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="The project's folder; created where it is missing.")
    ] = Path(),
    yes: Annotated[
        bool, typer.Option("--yes", help="Write into the folder even if it is not empty.")
    ] = False,
    quiet: QuietOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Look at an existing database, read only, and write a project that moves it.

    Writes regionkit.toml, the logical schema (schema.py and extras.sql) and a report. What the
    foreign keys leave open is asked of the data: which way leads home, what is shared. What the
    data cannot tell is never guessed: it is listed with the lines to add, and the command exits 9.

    Run again, it keeps what you wrote and shows what has changed in the source.
    """
    existing = _existing(out)
    folder.require_writable(out, yes=yes)
    if existing is not None:
        existing.require_before_cutover("regionkit init")
    configuration = existing.configuration if existing is not None else None
    request = Request(
        url=source or _source(configuration),
        root=root,
        region_by=region_by,
        region_sql=region_sql,
        map_file=map_file,
        clients_file=clients,
        schemas=tuple(schema or ()),
        folder=out,
        alone=_is_alone(configuration),
    )
    seen = _look(request, configuration, quiet=quiet or output is Output.json)
    written = folder.write(seen, request, configuration)
    _write_keys(out, seen)
    if output is Output.json:
        print_json(
            {
                **report.document(seen),
                "folder": str(out),
                "files": written.files,
                "changes": written.changes,
            }
        )
    else:
        stdout().print(report.markdown(seen, whole=False), markup=False, end="")
        for line in written.changes:
            stderr().print(f"changed: {line}", markup=False)
        for name in written.files:
            stderr().print(f"wrote {out / name}", markup=False)
    _require_decided(seen, out)
    stderr().print(f"next: {_next(out)}", markup=False)


def _look(request: Request, existing: Configuration | None, *, quiet: bool) -> Seen:
    if quiet:
        return look(request, existing)
    with stderr().status("looking at the source") as status:
        return look(request, existing, lambda what: status.update(f"looking at {escape(what)}"))


def _existing(out: Path) -> Project | None:
    path = out / config.DEFAULT_NAME
    return open_project(path) if path.is_file() else None


def _source(existing: Configuration | None) -> str:
    """Return the URL of the source: the environment's, the project's, or the lab's."""
    given = existing.url("source") if existing is not None else config.default_url("source")
    url = given or Lab(default_folder(Path.cwd())).url("postgres")
    if url is None:
        raise UsageError(
            "no source is named",
            hint="pass --source postgresql://user@host/database, or set REGIONKIT_SOURCE_URL",
        )
    return url


def _write_keys(out: Path, seen: Seen) -> None:
    """Write the keys of clients without a region where only this user can read them."""
    path = out / personal.FOLDER / "without-region.csv"
    if not seen.homeless:
        path.unlink(missing_ok=True)
        return
    columns = [
        column.name
        for table in seen.metadata.tables.values()
        if table_key(table, seen.default_schema) == seen.root
        for column in table.primary_key.columns
    ]
    personal.write_to(path, columns, seen.homeless)
    stderr().print(
        f"the key of every client without a region is in {path} (personal data, readable by you "
        "alone)",
        markup=False,
    )


def _require_decided(seen: Seen, out: Path) -> None:
    if not seen.open:
        return
    details: list[str] = []
    for one in seen.open:
        details.append(f"{one.subject}: {one.question}")
        details.append(f"    {one.advice}")
    raise Refused(
        f"{len(seen.open)} thing(s) are to be decided before 'regionkit generate'",
        details=details,
        hint=f"edit {out / config.DEFAULT_NAME}, then run 'regionkit init --yes' there again",
    )


def _next(out: Path) -> str:
    if out.resolve() == Path.cwd():
        return "regionkit generate"
    return f"cd {out} && regionkit generate"


def _is_alone(existing: Configuration | None) -> bool | None:
    """Return whether the MongoDB that the project will use is alone in its replica set."""
    url = existing.url("mongo") if existing is not None else config.default_url("mongo")
    url = url or Lab(default_folder(Path.cwd())).url("mongo")
    if url is None:
        return None
    try:
        with mongo_session.connect(url, timeout=3) as session:
            return mongo_session.topology_facts(session).majority == 1
    except RegionkitError:
        return None
