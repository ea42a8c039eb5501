"""``regionkit check latency``: what the declared writes cost on each layout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Annotated, Literal

import typer
from rich.table import Table

from toolkit.checks.latency import Delay, LaneReport, LatencyCheck, LatencyReport, Skipped, declares
from toolkit.checks.load import Pace
from toolkit.checks.writers import LayoutName, Place
from toolkit.cli import backends
from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import (
    Backend,
    BackendOption,
    ConfigOption,
    NoInputOption,
    Project,
    YesOption,
    confirm,
    open_project,
)
from toolkit.errors import Refused, StoppedByUser, UsageError
from toolkit.lab.proxy import DelayProxy, mongo_through, postgres_address, postgres_through
from toolkit.mongo import session as mongo_session
from toolkit.mongo.layout import collections

#: Per write and layout and second. With a delay in between one transaction takes many round trips,
#: and so many hands are needed for few requests.
RATE, RATE_DELAYED = 20.0, 2.0

#: Workers that are enough unless something is said; with a delay they are reckoned from it.
WORKERS, MOST_WORKERS = 8, 40

#: Round trips of a transaction, roughly: only the number of workers depends on it.
_ROUND_TRIPS = 6

DURATION, WARMUP = 10.0, 2.0


def latency(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            help="Transactions per second, of each write on each layout. "
            f"Default: {RATE:g}, with --rtt {RATE_DELAYED:g}.",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[
        float, typer.Option("--duration", help="Seconds that are measured.")
    ] = DURATION,
    warmup: Annotated[
        float, typer.Option("--warmup", help="Seconds before them, which do not count.")
    ] = WARMUP,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help=f"Transactions that can be under way at once. Default: {WORKERS}, with --rtt as "
            "many as the round trip takes.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="The same seed draws the same parameters. Default: [checks] seed.",
            show_default=False,
        ),
    ] = None,
    rtt: Annotated[
        bool,
        typer.Option("--rtt", help="Put the round trip between two regions before every server."),
    ] = False,
    writer: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="With --rtt: the region of the writers. Default: the farthest from [checks] home.",
            show_default=False,
        ),
    ] = None,
    remove: Annotated[
        str | None,
        typer.Option(
            "--remove",
            metavar="MARK",
            help="Measure nothing: remove what a run with this mark left when it was killed.",
            show_default=False,
        ),
    ] = None,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Measure what each [[write]] costs on each layout, beside the source, in one run.

    Transactions start on schedule, whatever the servers do. The rows that they write are marked,
    and removed afterwards. Exits 6 where a threshold is exceeded, 4 where a write did not do what
    it declares.
    """
    project = open_project(config)
    project.require_before_cutover("regionkit check latency")
    require_consent(project, backend, yes=yes, no_input=no_input)
    try:
        if remove is not None:
            _remove(project, backend, remove, output)
            return
        report = run(
            project,
            backend,
            rate=rate,
            duration=duration,
            warmup=warmup,
            workers=workers,
            seed=seed,
            rtt=rtt or writer is not None,
            writer=writer,
        )
    except KeyboardInterrupt:
        raise StoppedByUser("interrupted before anything was written") from None
    if output is Output.json:
        print_json(report.document())
    else:
        print_report(report)
    report.require_good()


def require_consent(project: Project, backend: Backend, *, yes: bool, no_input: bool) -> None:
    """Ask before anything is written to a server that is not the lab's.

    Raises:
        UsageError: the answer is no, or there is nobody to ask.
    """
    roles: tuple[Literal["source", "postgres", "mongo"], ...] = ("source", *backend.names)
    own = [role for role in roles if not project.is_lab(role)]
    if own:
        confirm(
            f"write rows to your own server(s), and remove them again: {', '.join(own)}?",
            yes=yes,
            no_input=no_input,
        )


def run(
    project: Project,
    backend: Backend = Backend.all,
    *,
    rate: float | None = None,
    duration: float = DURATION,
    warmup: float = WARMUP,
    workers: int | None = None,
    seed: int | None = None,
    rtt: bool = False,
    writer: str | None = None,
    quiet: bool = False,
) -> LatencyReport:
    """Measure the declared writes. Whoever calls has asked for consent.

    Args:
        project: the operator's.
        backend: which layouts, beside the source.
        rate: transactions per second, of each write on each layout.
        duration: seconds that count.
        warmup: seconds before them.
        workers: transactions that can be under way at once.
        seed: of the parameters.
        rtt: whether to put a delay in between.
        writer: the region of the writers, for the delay.
        quiet: show no progress.

    Raises:
        Refused: a layout that was asked for by name is not applied, or holds no rows.
        RegionkitError: see :meth:`LatencyCheck.run`.
    """
    configuration = project.configuration
    writes = configuration.file.write
    delay = _delay(project, writer) if rtt else None
    found, skipped = _places(project, backend)
    lanes = sum(declares(write, place.layout) for write in writes for place in found)
    rate = rate if rate is not None else (RATE_DELAYED if delay else RATE)
    pace = Pace(
        rate=rate,
        duration=duration,
        warmup=warmup,
        workers=workers if workers is not None else _workers(rate * lanes, delay),
        seed=seed if seed is not None else configuration.file.checks.seed,
    )

    def show(text: str) -> None:
        if not quiet:
            stderr().print(f"latency: {text}", markup=False)

    if not writes:
        nothing = Skipped("", "all layouts", f"{configuration.path.name} declares no [[write]]")
        return LatencyReport(pace, skipped=[nothing], delay=delay)
    if delay is not None:
        show(
            f"{delay.ms:g} ms between the writers ({delay.writer}) and every server ({delay.home})"
        )
    with _through(found, delay) as places:
        check = LatencyCheck(writes, places, configuration.topology.codes, pace, delay)
        report = check.run(show)
    report.skipped[:0] = skipped
    return report


def _remove(project: Project, backend: Backend, mark: str, output: Output) -> None:
    places, skipped = _places(project, backend)
    configuration = project.configuration
    pace = Pace(rate=1, duration=1, warmup=0, workers=1)
    check = LatencyCheck(configuration.file.write, places, configuration.topology.codes, pace, None)
    removed = check.remove(mark)
    if output is Output.json:
        print_json({"mark": mark, "removed": removed})
        return
    for item in skipped:
        stdout().print(str(item), markup=False)
    touched = sum(removed.values())
    stdout().print(f"the removal of {mark} touched {touched:,} row(s), and nothing is left")


def _workers(total_rate: float, delay: Delay | None) -> int:
    """Return how many workers a rate takes: by Little's law, with as many again in reserve."""
    if delay is None:
        return WORKERS
    under_way = total_rate * _ROUND_TRIPS * delay.ms / 1000
    return max(WORKERS, min(MOST_WORKERS, math.ceil(2 * under_way)))


def _places(project: Project, backend: Backend) -> tuple[list[Place], list[Skipped]]:
    """Return the layouts that can be written to, the source first, and those that cannot."""
    url = project.url("source")
    places = [Place("single", url, url, project.configuration.source_schema)]
    skipped = []
    for name in backend.names:
        layout: LayoutName = "tables" if name == "postgres" else "collections"
        reason = backends.unready(project, name)
        if not reason:
            places.append(_place(project, name))
        elif backend is Backend.all:
            skipped.append(Skipped("", layout, reason))
        else:
            raise Refused(
                f"the layout {layout!r} cannot be written to: {reason}",
                hint=f"run 'regionkit apply --backend {name}', then "
                f"'regionkit migrate --backend {name}'",
            )
    return places, skipped


def _place(project: Project, name: backends.Name) -> Place:
    configuration, url = project.configuration, project.url(name)
    if name == "postgres":
        return Place("tables", url, url, configuration.target_schema)
    link = collections(project.layout).link.name
    with mongo_session.connect(url) as opened:
        mongo_session.require_transactions(
            opened, configuration.file.target.mongo.allow_single_member
        )
    return Place(
        "collections",
        url,
        url,
        configuration.mongo_database,
        link,
        project.layout.region_column,
    )


def _delay(project: Project, writer: str | None) -> Delay:
    """Return the network that the topology declares between the writers and the servers."""
    configuration = project.configuration
    topology, home = configuration.topology, configuration.file.checks.home
    if home is None:
        raise UsageError(
            "--rtt needs to know where the servers are",
            hint='say it in regionkit.toml: [checks] home = "<region>"',
        )
    if writer is None:
        writer = max(topology.codes, key=lambda code: topology.round_trip(code, home))
    elif writer not in topology.codes:
        raise UsageError(
            f"--from: there is no region {writer!r}",
            hint=f"declared in [regions] are {', '.join(topology.codes)}",
        )
    return Delay(writer, home, topology.round_trip(writer, home))


@contextmanager
def _through(places: list[Place], delay: Delay | None) -> Iterator[list[Place]]:
    """Put a delay before every server; the places' ``through`` lead there."""
    if delay is None:
        yield places
        return
    with ExitStack() as proxies:
        delayed = []
        for place in places:
            if place.layout == "collections":
                host, port = _primary(place.url)
                proxy = proxies.enter_context(DelayProxy(host, port, delay.ms))
                through = mongo_through(place.url, proxy.port)
            else:
                proxy = proxies.enter_context(DelayProxy(*postgres_address(place.url), delay.ms))
                through = postgres_through(place.url, proxy.port)
            delayed.append(replace(place, through=through))
        yield delayed


def _primary(url: str) -> tuple[str, int]:
    with mongo_session.connect(url) as opened, mongo_session.translated("find the primary"):
        address = opened.client.address
    if address is None:
        raise UsageError(
            "a delay goes before one server, and this MongoDB URL leads to several",
            hint="give the URL of one mongos, or of a replica set",
        )
    return str(address[0]), int(address[1] or 0)


def print_report(report: LatencyReport) -> None:
    """Print a report for people."""
    out = stdout()
    if report.lanes:
        out.print(latency_table(report))
    for line in remarks(report):
        out.print(line, markup=False)


_LAYOUTS: dict[LayoutName, str] = {
    "single": "source",
    "tables": "tables",
    "collections": "collections",
}


def latency_table(report: LatencyReport) -> Table:
    """Return the figures, one line for each write and layout."""
    pace, delay = report.pace, report.delay
    title = f"Writes at {pace.rate:g}/s each, for {pace.duration:g} s (milliseconds)"
    if delay is not None:
        title += f", {delay.ms:g} ms between {delay.writer} and {delay.home}"
    table = Table(title=title)
    table.add_column("write")
    table.add_column("layout", no_wrap=True)
    for name in ("p50", "p95", "p99", "max", "overhead", "p99 from due", "errors", "late", "rate"):
        table.add_column(name, justify="right")
    before = ""
    for lane in report.lanes:
        if lane.write != before and before:
            table.add_section()
        table.add_row("" if lane.write == before else lane.write, *_cells(report, lane))
        before = lane.write
    return table


def _cells(report: LatencyReport, lane: LaneReport) -> list[str]:
    result, service = lane.result, lane.result.service
    durable = report.servers[lane.layout].durable
    return [
        _LAYOUTS[lane.layout] + ("" if durable else " *"),
        *(_ms(value) for value in (service.p50, service.p95, service.p99, service.max)),
        "" if lane.overhead is None else f"{lane.overhead:.2f}×",
        _ms(result.intended.p99),
        str(result.errors.total()) if result.errors else "",
        f"{result.late_share:.1%}" if result.late else "",
        f"{result.achieved:.1f}" + ("" if result.reached else " !"),
    ]


def _ms(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def remarks(report: LatencyReport) -> list[str]:
    """Return what must be said beside the table, one line each."""
    lines = []
    for layout, found in report.servers.items():
        said = ", ".join(f"{name} {value or '(none)'}" for name, value in found.settings.items())
        lines.append(f"{_LAYOUTS[layout]}: {found.server}: {said}")
        lines += [f"  * not durable: {lack}" for lack in found.lacks]
    if "collections" in report.servers:
        lines.append(
            "  written through PyMongo, whose own time of some 0.4 ms per command is in the figures"
        )
    for lane in report.lanes:
        name = f"{lane.write!r} on {_LAYOUTS[lane.layout]}"
        if not lane.result.reached:
            lines.append(
                f"! {name}: the rate of {lane.result.rate:g}/s was not reached: "
                f"{lane.result.achieved:.1f}/s succeeded, {lane.result.started} of "
                f"{lane.result.scheduled} started"
            )
        for kind, count in lane.result.errors.items():
            lines.append(f"{name}: {count} × {kind}: {lane.messages.get(kind, '')}")
        lines += [f"{name}: threshold: {line}" for line in lane.exceeded]
    lines += [str(item) for item in report.skipped]
    if report.lanes:
        lines.append(
            f"late: started more than {report.late_after * 1000:.1f} ms after its time. "
            f"{report.pace.workers} workers. The removal of the rows written touched "
            f"{sum(report.removed.values()):,}; nothing is left"
        )
    return lines
