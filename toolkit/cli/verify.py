"""``regionkit verify``: compares every cell of the layouts with the source."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from toolkit.cli import backends, personal
from toolkit.cli.output import Output, OutputOption, print_json, stdout
from toolkit.cli.project import (
    Backend,
    BackendOption,
    ConfigOption,
    Project,
    QuietOption,
    open_project,
)
from toolkit.cli.throttling import (
    Considerate,
    MaxLagOption,
    MaxLoadOption,
    MaxRateOption,
    PauseFileOption,
    considerate,
)
from toolkit.cli.watch import watching
from toolkit.errors import VerificationFailed, sampled
from toolkit.migrate.verification import Verdict
from toolkit.migrate.verification import verify as verify_target


def verify(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Leave out tables that a verification found equal before it was stopped, if "
            "neither end has changed since.",
        ),
    ] = False,
    max_rate: MaxRateOption = None,
    max_load: MaxLoadOption = None,
    max_lag: MaxLagOption = None,
    pause_file: PauseFileOption = None,
    quiet: QuietOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Compare source and layouts: every row, then the link, then the declared invariants.

    Counts and digests per table and region are compared first; where they differ, every key that
    is missing, unexpected, different or misplaced is named. Exits 5 if anything differs. Without a
    freeze of the source, equality is proven for the moment at which this command began.

    What was found equal is kept until the command comes to its end: `--resume` goes on from there
    on PostgreSQL, where rows tell when they were written.
    """
    project = open_project(config)
    options = Considerate(max_rate, max_load, max_lag, pause_file)
    verdicts = []
    for name in backend.names:
        verdict = run(project, name, options, resume=resume, quiet=quiet, output=output)
        verdicts.append(verdict)
        if output is Output.text:
            stdout().print(verdict_table(project, name, verdict))
    if output is Output.json:
        print_json({"results": [document(verdict) for verdict in verdicts]})
    require_equal(project, verdicts)


def run(
    project: Project,
    name: backends.Name,
    options: Considerate | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    output: Output = Output.text,
) -> Verdict:
    """Verify one backend."""
    with (
        watching(name, quiet=quiet, output=output) as watcher,
        considerate(project, name, options or Considerate(), watcher) as throttle,
    ):
        watcher.phase("comparing")
        memory = Memory(project.configuration.folder / ".regionkit" / f"verified-{name}.json")
        verdict = verify_target(
            project.source(),
            backends.target(project, name),
            project.layout,
            project.configuration,
            progress=watcher.detail,
            throttle=throttle,
            kept=memory.read() if resume else None,
            keep=memory.write,
        )
        memory.forget()
        return verdict


class Memory:
    """What a verification found equal so far, in a file, until it has come to its end.

    Args:
        path: of the file. It holds counts, and keys of clients in quarantine: only this user can
            read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Any] | None:
        """Return what is there; ``None`` if nothing is, or nothing that can be read."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, document: dict[str, Any]) -> None:
        """Keep what was found, instead of what is there. Without room for it, go on without."""
        with suppress(OSError), personal.replacing(self._path) as file:
            json.dump(document, file)

    def forget(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def require_equal(project: Project, verdicts: list[Verdict]) -> None:
    """Raise if anything differs, after writing every key to a file.

    Raises:
        VerificationFailed: something does.
    """
    findings = [finding for verdict in verdicts for finding in verdict.findings]
    if not findings:
        return
    rows = (
        (verdict.server, one.code, one.table, one.region or "", one.text, one.detail, one.repair)
        for verdict in verdicts
        for one in verdict.mismatches()
    )
    header = ("server", "kind", "table", "region", "key", "detail", "repair")
    path = personal.write(project, "mismatches.csv", header, rows)
    for verdict in verdicts:
        verdict.close()
    raise VerificationFailed(
        f"source and target differ: {len(findings)} finding(s)",
        details=sampled([str(finding) for finding in findings]),
        hint=f"every key, and what to do about it, is in {path} (personal data); "
        "'regionkit migrate --repair' does it for the rows",
    )


def document(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict for ``--output json``."""
    return {
        "server": verdict.server,
        "equal": verdict.equal,
        "rows": verdict.rows,
        "quarantine": {"clients": len(verdict.left), "rows": verdict.left_rows},
        "source": None
        if verdict.moment is None
        else {"lsn": verdict.moment.lsn, "time": verdict.moment.time.isoformat()},
        "findings": [finding.document() for finding in verdict.findings],
        "unasked": verdict.unasked,
        "invariants": {"held": verdict.invariants, "skipped": verdict.skipped},
    }


def verdict_table(project: Project, name: str, verdict: Verdict) -> Table:
    """Return a verdict as a table for people."""
    rows = sum(sum(counts.values()) for counts in verdict.rows.values())
    word = "equal to the source" if verdict.equal else f"{len(verdict.findings)} finding(s)"
    table = Table(title=f"{name}: {rows:,} rows compared, {word}")
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("")
    for key, counts in verdict.rows.items():
        wrong = [str(finding.code) for finding in verdict.findings if finding.table == key]
        table.add_row(key, f"{sum(counts.values()):,}", ", ".join(sorted(set(wrong))) or "equal")
    for invariant in verdict.invariants:
        table.add_row(f"invariant: {invariant}", "", "holds")
    for invariant in verdict.skipped:
        table.add_row(f"invariant: {invariant}", "", f"not declared for {name}: skipped")
    for question in verdict.unasked:
        table.add_row(question, "", "not asked")
    return table
