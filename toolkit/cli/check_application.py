"""``regionkit check application``: whether the application's statements run on the layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from toolkit.checks import application as check_application
from toolkit.checks import recorded, statements
from toolkit.checks.application import Bench
from toolkit.checks.application_report import ApplicationReport, Code, Judged, Severity
from toolkit.checks.judge import Judge
from toolkit.checks.renaming import Names
from toolkit.checks.statements import Statement
from toolkit.cli import backends
from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import ConfigOption, Project, QuietOption, open_project
from toolkit.errors import Refused, UsageError, sampled
from toolkit.layout import Layout
from toolkit.postgres import session

#: Characters of a statement that the text shows; the JSON document has all of it.
_SHOWN = 200


def application(
    config: ConfigOption = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--statements",
            help="SQL, or a .csv or .json export of pg_stat_statements. Default: "
            "pg_stat_statements of the source.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        Severity,
        typer.Option("--fail-on", help="Exit 4 for findings that are as bad as this, or worse."),
    ] = Severity.change,
    accept: Annotated[
        list[Code] | None,
        typer.Option(
            "--accept",
            help="A kind of finding that is listed, and no reason to exit 4; can be repeated.",
            show_default=False,
        ),
    ] = None,
    quiet: QuietOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Say which statements of the application would fail on the layout `tables`, and what works.

    Lists the statements that would fail, those that change meaning and those that would ask every
    region, each with the form that works. The servers plan the statements and execute none.
    Exits 4 if a statement would fail or changes meaning, and 9 if the layout is not applied.
    """
    report = run(open_project(config), file, quiet=quiet)
    if output is Output.json:
        print_json(report.document())
    else:
        show(report)
    report.require_good(fail_on, accept or ())


def run(project: Project, file: Path | None = None, *, quiet: bool = False) -> ApplicationReport:
    """Run the check.

    Args:
        project: the operator's project.
        file: with the statements; without it they are those that the source has counted.
        quiet: show no progress.

    Raises:
        Refused: the layout is not applied, or the source counts no statements.
        UsageError: the file cannot be read.
        ConnectionFailed: a server does not answer.
    """

    def progress(message: str) -> None:
        if not quiet:
            stderr().print(message, markup=False)

    given = None if file is None else _read(file)
    backends.target(project, "postgres").require_applied()
    with session.connect(project.url("source"), role="source") as source:
        found = recorded.recorded(source) if given is None else given
        with _bench(project, source) as bench:
            return check_application.check(found, bench, progress)


@contextmanager
def _bench(project: Project, source: session.Connection) -> Iterator[Bench]:
    decisions, configuration, now = project.layout, project.configuration, project.names
    further = configuration.source_schemas[1:]
    schemas = (now.source, *further)
    for schema in schemas:
        session.require_usage(source, schema)
    region = decisions.topology.codes[0]
    url = project.url("postgres")
    with session.connect(url, role="postgres") as target:
        session.require_usage(target, now.target)
        _require_privileges(target, now.target, decisions)
        members = _extensions(target)
        own = frozenset(name for schema, name in members if schema in schemas)
        path = (now.target, *dict.fromkeys(one for one, _ in members if one not in schemas))
        yield Bench(
            decisions,
            now.target,
            Names(decisions, configuration.source_schemas, now.target),
            Judge(source, schemas),
            Judge(target, path, region),
            Judge(target, (*path, *schemas), region) if own else None,
            own,
        )


def _require_privileges(connection: session.Connection, schema: str, decisions: Layout) -> None:
    """Refuse a role for which the server would not plan what the application does.

    Raises:
        Refused: it lacks a privilege; each is named.
    """
    tables = [decisions.name(key) for key in (*decisions.regional, *decisions.shared)]
    rows = connection.execute(
        """
        SELECT c.relname, string_agg(p, ', ')
        FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
        WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
          AND c.relname = ANY(%s) AND NOT has_table_privilege(c.oid, p)
        GROUP BY 1 ORDER BY 1
        """,
        (schema, [*tables, decisions.link]),
    ).fetchall()
    if rows:
        raise Refused(
            f"role {connection.info.user!r} lacks privileges on {len(rows)} table(s) of "
            f"{schema!r}: the server plans only what a role may do",
            details=sampled([f"{table}: {lacks}" for table, lacks in rows]),
            hint=f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO ...",
        )


def _extensions(connection: session.Connection) -> list[tuple[str, str]]:
    """Return the schema and the name of what extensions have brought, those of the system apart."""
    rows = connection.execute(
        """
        SELECT n.nspname, o.name
        FROM pg_depend d
        JOIN (
          SELECT 'pg_proc'::regclass AS class, oid, proname AS name, pronamespace AS space
          FROM pg_proc
          UNION ALL SELECT 'pg_type'::regclass, oid, typname, typnamespace FROM pg_type
          UNION ALL SELECT 'pg_operator'::regclass, oid, oprname, oprnamespace FROM pg_operator
          UNION ALL SELECT 'pg_class'::regclass, oid, relname, relnamespace FROM pg_class
        ) o ON o.class = d.classid AND o.oid = d.objid
        JOIN pg_namespace n ON n.oid = o.space
        WHERE d.deptype = 'e' AND n.nspname <> 'pg_catalog'
        ORDER BY 1, 2
        """
    )
    return [(str(schema), str(name)) for schema, name in rows]


def _read(file: Path) -> list[Statement]:
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the statements in {file}: {error}", hint="give a readable UTF-8 file"
        ) from None
    return statements.read(content, file.suffix)


def show(report: ApplicationReport) -> None:
    """Print a report for people: what is worst first, and of that what is called most."""
    out = stdout()
    for severity in Severity:
        found = report.with_severity(severity)
        if found:
            out.print(f"{len(found)} statement(s): {severity.meaning}", style="bold")
            for one in found:
                for line in _lines(one):
                    out.print(line, markup=False)
            out.print()
    if report.unknown:
        out.print(f"{len(report.unknown)} statement(s): not judged, or not wholly", style="bold")
        for one in report.unknown:
            out.print(f"  {_head(one)}", markup=False)
            out.print(f"    {one.unknown}", markup=False)
        out.print()
    for line in notes(report):
        out.print(line, markup=False)


def _lines(one: Judged) -> Iterator[str]:
    yield f"  {_head(one)}"
    for problem in one.problems:
        yield f"    {problem.code}: {problem.reason}"
    for form in one.forms:
        yield f"    works: {form.statement}"
        for name, meaning in form.parameters.items():
            yield f"      {name}: {meaning}"
        if form.note:
            yield f"      {form.note}"
    if not one.forms and one.severity is Severity.fail:
        yield "    works: to be written by hand, see docs/check-application.md"


def _head(one: Judged) -> str:
    text = one.text if len(one.text) <= _SHOWN else f"{one.text[:_SHOWN]} ..."
    calls = "" if one.calls is None else f" ({one.calls:,} calls)"
    return f"[{one.id}]{calls} {text}"


def notes(report: ApplicationReport) -> list[str]:
    """Return what must be said beside the findings, one line each."""
    lines = [f"{report.unchanged} statement(s) run as they do today"]
    if report.utilities:
        lines.append(
            f"{report.utilities} statement(s) read and write no row of the layout's tables"
        )
    if report.hidden:
        lines.append(
            f"{report.hidden} statement(s) of other roles are hidden: they need pg_read_all_stats"
        )
    return lines
