"""The faults: each is a function that does something to a run and says what it saw.

A function gets a :class:`~tests.faults.servers.Scene` and a generator of random numbers, and
returns lines that say what was not as it must be. What must hold after every fault, whatever it
was, is checked by the campaign and not here.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psycopg

from tests.faults.failpoints import BY_NAME, FAILPOINTS, MODES, Failpoint, Mode, Trap
from tests.faults.proxy import Action, Watch, WatchingProxy
from tests.faults.servers import Scene, ServerName, Victim, port, through
from tests.live.journey import Journey, execute

#: Seconds in which a run must notice that nobody answers any more.
SILENCE = 90.0

STOPPED = 10
KILLED = -signal.SIGKILL


class Missed(AssertionError):
    """The run ended before the point at which it was to be struck."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: what it is counted by.
        row: of ``faults.md``.
        strike: does it; returns what was wrong.
        modes: where it can be done.
        count: how many in a full campaign.
        server: the server that it kills, if it kills one.
        point: the named failpoint, if it kills the tool.
        writes: whether the run is writing then.
        changing: whether it changes the source.
        slow: whether it waits for a timeout.
    """

    name: str
    row: int
    strike: Callable[[Scene, random.Random], list[str]]
    modes: tuple[Mode, ...] = MODES
    count: int = 5
    server: str = ""
    point: str = ""
    writes: bool = True
    changing: bool = False
    slow: bool = False


def _trap(
    scene: Scene, point: Failpoint, rng: random.Random, action: Literal["kill", "stop"]
) -> Trap:
    """Return a trap at a seeded call of a failpoint."""
    trap = Trap(point.function(scene.mode), point.moment, 1, action)
    calls = scene.ground.calls(scene.mode, trap, point.start)
    if not calls:
        raise Missed(f"{point.name} is never reached in mode {scene.mode}")
    return replace(trap, call=rng.randint(1, calls))


def _modes(point: Failpoint) -> tuple[Mode, ...]:
    """Return where a failpoint is reached: within one database, nothing is streamed."""
    found = tuple(mode for mode in MODES if point.function(mode))
    return tuple(mode for mode in found if (point.name, mode) != ("mid-stream", "same"))


def _stopped(scene: Scene, rng: random.Random, *points: str) -> tuple[Victim, str]:
    """Start a run that stops at a seeded call of one of some failpoints; return it, and where."""
    possible = [BY_NAME[name] for name in points if scene.mode in _modes(BY_NAME[name])]
    point = rng.choice(possible)
    trap = _trap(scene, point, rng, "stop")
    victim = scene.start(traps=[trap])
    if not victim.stopped():
        raise Missed(f"{point.name} was not reached: {victim.wait()} {victim.err[-300:]}")
    return victim, f"{point.name} call {trap.call}"


def _ends(victim: Victim, *codes: int, what: str = "the run", timeout: float = 90) -> list[str]:
    """Wait for a run; return what is wrong with how it ended."""
    code = victim.wait(timeout)
    lines = []
    if code not in codes:
        wanted = " or ".join(map(str, codes))
        lines.append(f"exit: {what} ended with {code}, not {wanted}: {_last(victim.err)}")
    if "Traceback" in victim.err:
        lines.append(f"exit: {what} printed a traceback: {_last(victim.err)}")
    return lines


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return " | ".join(line for line in lines[-3:])[:400]


WRITING = tuple(point.name for point in FAILPOINTS if point.writes and point.start == "fresh")
COPYING = ("before-rows", "between-rows-and-checkpoint", "between-checkpoint-and-commit")


# 1: the tool is killed ---------------------------------------------------------------------------


def _kill(point: Failpoint) -> Callable[[Scene, random.Random], list[str]]:
    def strike(scene: Scene, rng: random.Random) -> list[str]:
        trap = _trap(scene, point, rng, "kill")
        scene.begin(point.start)
        victim = scene.start(traps=[trap])
        code = victim.wait()
        scene.expire()
        if code != KILLED:
            raise Missed(f"{point.name} call {trap.call} was not reached: {code} {victim.err}")
        return []

    return strike


def _commit_pattern(scene: Scene) -> bytes:
    return b"commitTransaction\x00" if scene.mode == "mongo" else b"COMMIT\x00"


@contextmanager
def _proxied(
    scene: Scene, server: ServerName, watch: Watch
) -> Iterator[tuple[WatchingProxy, Journey]]:
    """Put a proxy before a server; yield it with the project whose URL leads through it."""
    journey = scene.journey
    url = {"source": journey.source, "target": journey.postgres, "mongo": journey.mongo}[server]
    with WatchingProxy(port(url), watch) as proxy:
        there = through(url, proxy.port)
        if server == "source":
            yield proxy, replace(journey, source=there)
        elif server == "target":
            yield proxy, replace(journey, postgres=there)
        else:
            yield proxy, replace(journey, mongo=there.replace("&replicaSet=rs0", ""))


def _seen(scene: Scene, server: ServerName, pattern: bytes) -> int:
    """Return how often a pattern passes in an undisturbed run."""
    key = (scene.mode, f"{server}:{pattern!r}", "fresh")
    counts = scene.ground.counts
    if key not in counts:
        watch = Watch(pattern, 0, "pass")
        with (
            scene.ground.scene(scene.mode) as other,
            _proxied(other, server, watch) as (_, journey),
        ):
            victim = other.start(env=journey.env)
            assert victim.wait() == 0, victim.err
        counts[key] = watch.seen
    return counts[key]


def _target(scene: Scene) -> ServerName:
    return "mongo" if scene.mode == "mongo" else "target"


def kill_in_commit(scene: Scene, rng: random.Random) -> list[str]:
    """The COMMIT arrives and is done; the run dies before it reads the reply."""
    pattern, server = _commit_pattern(scene), _target(scene)
    seen = _seen(scene, server, pattern)
    watch = Watch(pattern, rng.randint(1, seen), "cut-after")
    with _proxied(scene, server, watch) as (proxy, journey):
        victim: list[Victim] = []
        started = threading.Event()

        def strike() -> None:
            started.wait()
            victim[0].signal(signal.SIGKILL)

        watch.done = strike
        victim.append(scene.start(env=journey.env))
        started.set()
        code = victim[0].wait()
        if not proxy.struck.is_set():
            raise Missed(f"COMMIT {watch.call} of {seen} did not come: {code}")
    scene.expire()
    return [] if code == KILLED else [f"exit: the killed run ended with {code}"]


# 2 and 4: a run that was asleep ------------------------------------------------------------------


def overtaken(scene: Scene, rng: random.Random) -> list[str]:
    """SIGSTOP; its sessions end, as a network would end them; a second run; SIGCONT."""
    victim, _ = _stopped(scene, rng, *COPYING)
    _end_sessions(scene)
    scene.expire()
    second = scene.start()
    lines = _ends(second, 0, what="the second run")
    before = scene.content()
    victim.signal(signal.SIGCONT)
    lines += _ends(victim, 8, STOPPED, 7, what="the overtaken run")
    if scene.content() != before:
        lines.append("fence: the overtaken run wrote something")
    return lines


def asleep(scene: Scene, rng: random.Random) -> list[str]:
    """SIGSTOP with its sessions alive: a second run is kept out, or takes over and fences it."""
    victim, _ = _stopped(scene, rng, *COPYING)
    scene.expire()
    second = scene.start()
    lines = _ends(second, 0, 8, STOPPED, what="the second run")
    done = second.code == 0
    before = scene.content()
    victim.signal(signal.SIGCONT)
    lines += _ends(victim, *((8, STOPPED) if done else (0, 8)), what="the run that slept")
    if done and scene.content() != before:
        lines.append("fence: the overtaken run wrote something")
    return lines


def _end_sessions(scene: Scene) -> None:
    """End every session of regionkit in PostgreSQL."""
    for url in {scene.journey.source, scene.journey.postgres}:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'regionkit' AND datname = current_database()"
            )


def twice(scene: Scene, rng: random.Random) -> list[str]:
    """Two identical runs at once: the second exits 8 and writes nothing."""
    victim, _ = _stopped(scene, rng, *COPYING, "before-put-back")
    before = scene.content()
    second = scene.start()
    lines = _ends(second, 8, what="the second run")
    if scene.content() != before:
        lines.append("lock: the second run wrote something")
    victim.signal(signal.SIGCONT)
    return lines + _ends(victim, 0, what="the first run")


# 3: signals ---------------------------------------------------------------------------------------


def _signalled(number: int, times: int) -> Callable[[Scene, random.Random], list[str]]:
    def strike(scene: Scene, rng: random.Random) -> list[str]:
        victim, where = _stopped(scene, rng, *WRITING)
        for _ in range(times):
            victim.signal(number)
            victim.signal(signal.SIGCONT)
            if times > 1:
                time.sleep(rng.random() * 0.03)
        # At the very end there may be nothing left to interrupt.
        codes = (130, 0) if where.startswith(("before-finish", "after", "before-seq")) else (130,)
        lines = [f"{line} at {where}" for line in _ends(victim, *codes)]
        scene.expire()
        return lines

    return strike


# 6 and 7: guards ----------------------------------------------------------------------------------


def dry_run(scene: Scene, rng: random.Random) -> list[str]:
    """A dry run over half-done work changes nothing."""
    victim, _ = _stopped(scene, rng, *COPYING)
    victim.kill()
    scene.expire()
    before = scene.content()
    lines = _ends(scene.start("migrate", "--dry-run"), 0, what="the dry run")
    if scene.content() != before:
        lines.append("dry run: it wrote something")
    return lines


def another_configuration(scene: Scene, rng: random.Random) -> list[str]:
    """Resume with a region rule, a topology or a source that is not the one of the start."""
    scene.half_done()
    before = scene.content()
    folder = scene.ground.folder.with_name(f"{scene.ground.folder.name}-other")
    scene.ground.subject.write(folder, scene.ground.database)
    toml = folder / "regionkit.toml"
    text = toml.read_text()
    if scene.ground.subject.name == "bank":
        choices = [
            ("gl = {", 'zz = { title = "New" }\ngl = {'),
            ('column = "country_code"', 'column = "country_code"\ndefault = "eu"'),
            ('same_region = ["payment_id"]', 'same_region = ["payment_id", "transfer_id"]'),
        ]
    else:
        choices = [
            ("eu = {}", "eu = {}\nzz = {}"),
            ('jp = "ap"', 'jp = "eu"'),
        ]
    old, new = rng.choice(choices)
    assert text.count(old) == 1, old
    toml.write_text(text.replace(old, new))
    victim = scene.start("migrate", env={"REGIONKIT_CONFIG": str(toml)})
    lines = _ends(victim, 9, what=f"resuming with {new!r}")
    if scene.content() != before:
        lines.append("guard: the refused run wrote something")
    return lines


def another_schema(scene: Scene, rng: random.Random) -> list[str]:
    """Resume after DDL on the source: 9, and what differs is said; undone, it goes on."""
    scene.half_done()
    before = scene.content()
    schema, table = scene.ground.subject.schema, rng.choice(["client", "account"])
    ddl, undo, said = rng.choice(
        [
            (
                f"ALTER TABLE {schema}.{table} ADD added_column integer",
                f"ALTER TABLE {schema}.{table} DROP added_column",
                "added_column",
            ),
            (
                f"ALTER TABLE {schema}.transfer RENAME amount TO sum_of_money",
                f"ALTER TABLE {schema}.transfer RENAME sum_of_money TO amount",
                "amount",
            ),
        ]
    )
    execute(scene.journey.source, ddl)
    victim = scene.start("migrate")
    lines = _ends(victim, 9, what=f"resuming after {ddl!r}")
    if victim.code == 9 and said not in victim.err:
        lines.append(f"guard: the refusal does not name {said}: {_last(victim.err)}")
    if scene.content() != before:
        lines.append("guard: the refused run wrote something")
    execute(scene.journey.source, undo)
    return lines


# 8: servers die -----------------------------------------------------------------------------------


def _server_killed(server: ServerName, *, back: bool = True) -> Callable[..., list[str]]:
    """Kill a server under a run that has stopped, and let the run go on.

    Args:
        server: which.
        back: whether it comes back at once: then a run that tries again may succeed.
    """

    def strike(scene: Scene, rng: random.Random) -> list[str]:
        victim, where = _stopped(scene, rng, *WRITING, *COPYING)
        begun = scene.begun()
        servers = scene.ground.servers
        servers.kill(server)
        if back:
            servers.revive(server)
        victim.signal(signal.SIGCONT)
        codes = {STOPPED} if begun else {STOPPED, 7}
        if back and server == "mongo":
            codes |= {0}
        copying = (*COPYING, "mid-stream", "after-commit", "between-takedowns")
        if server == "source" and where.split()[0] not in copying:
            codes |= {0}
        # PyMongo repeats a transaction for two minutes.
        lines = [f"{line} at {where}" for line in _ends(victim, *codes, timeout=SILENCE)]
        servers.revive(server)
        scene.expire()
        return lines

    return strike


# 9: sessions end ----------------------------------------------------------------------------------

_WHO = {
    "copier": "state = 'idle in transaction' AND query !~ 'pg_export_snapshot'",
    "snapshot holder": "query ~ 'pg_export_snapshot'",
    "lock holder": "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')",
}


def _terminated(who: str) -> Callable[[Scene, random.Random], list[str]]:
    def strike(scene: Scene, rng: random.Random) -> list[str]:
        points = ("between-rows-and-checkpoint", "between-checkpoint-and-commit")
        victim, where = _stopped(scene, rng, *points)
        url = scene.journey.source if who == "snapshot holder" else scene.journey.postgres
        if who == "copier" and scene.mode == "mongo":
            url = scene.journey.source
        with psycopg.connect(url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'regionkit' AND datname = current_database() AND "
                + _WHO[who]
            ).fetchall()
        if not rows:
            raise Missed(f"there is no {who}")
        victim.signal(signal.SIGCONT)
        # Whoever has read everything may finish; whoever has lost its lock may not.
        codes = (STOPPED, 0) if who == "snapshot holder" else (STOPPED,)
        if who == "copier" and scene.mode == "mongo":
            codes = (STOPPED, 0)
        lines = [f"{line} at {where}" for line in _ends(victim, *codes)]
        scene.expire()
        return lines

    return strike


# 10: the network ----------------------------------------------------------------------------------


def _network(server: Literal["source", "target"], action: Action) -> Callable[..., list[str]]:
    def strike(scene: Scene, rng: random.Random) -> list[str]:
        where = _target(scene) if server == "target" else "source"
        checkpoint = b"INTO regionkit.checkpoint"
        if server == "source":
            pattern = rng.choice([b"SET TRANSACTION SNAPSHOT", b"SELECT"])
        elif scene.mode == "mongo":
            pattern = rng.choice([b"commitTransaction\x00", b"insert\x00"])
        elif scene.mode == "other":
            pattern = rng.choice(
                [b"COMMIT\x00", b"INTO regionkit.checkpoint", b"COPY ", b"d\x00\x00"]
            )
        else:
            pattern = rng.choice([b"COMMIT\x00", checkpoint, b"INSERT INTO"])
        seen = _seen(scene, where, pattern)
        if not seen:
            raise Missed(f"{pattern!r} never passes")
        # With two workers the last ones may come in another number.
        watch = Watch(pattern, rng.randint(1, max(1, seen - 2)), action)
        with _proxied(scene, where, watch) as (proxy, journey):
            victim = scene.start(env=journey.env)
            code = victim.wait(SILENCE)
            if not proxy.struck.is_set():
                raise Missed(f"{pattern!r} {watch.call} of {seen} did not come: {code}")
        begun = scene.begun()
        # A driver may repeat a cut request by itself, and succeed.
        codes = {STOPPED} | ({0} if action != "black-hole" else set()) | (set() if begun else {7})
        scene.expire()
        if code in codes:
            return []
        return [
            f"exit: {action} at {pattern!r} {watch.call}: {code}, not {sorted(codes)}: "
            f"{_last(victim.err)}"
        ]

    return strike


# 11: a full disk ----------------------------------------------------------------------------------


def _let_no_file_grow(pid: int) -> None:
    """Set ``ulimit -f`` of a process. Only its own user may: a child becomes that."""
    owner = Path(f"/proc/{pid}").stat()
    child = os.fork()
    if child == 0:
        try:
            if owner.st_uid != os.getuid():
                os.setgroups([])
                os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
                os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, 8192))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, f"the limits of process {pid} cannot be set"


def disk_full(scene: Scene, rng: random.Random) -> list[str]:
    """No file of the target's server may grow any more: ``ulimit -f``, set on its processes."""
    victim, where = _stopped(scene, rng, *COPYING)
    if scene.mode == "mongo":
        pids = [scene.ground.servers.pid("mongo")]
    else:
        with psycopg.connect(scene.journey.postgres, autocommit=True) as connection:
            pids = [
                pid
                for (pid,) in connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'regionkit' "
                    "AND datname = current_database()"
                )
            ]
    for pid in pids:
        _let_no_file_grow(pid)
    victim.signal(signal.SIGCONT)
    try:
        code = victim.wait(SILENCE)
    finally:
        if scene.mode == "mongo":
            # It may be waiting for room, or have given up.
            with contextlib.suppress(AssertionError):
                scene.ground.servers.kill("mongo")
            scene.ground.servers.revive("mongo")
        # PostgreSQL panics where it is the log that cannot grow, and recovers by itself.
        scene.ground.servers.recovered("target")
        scene.expire()
    if code == 0:
        raise Missed(f"nothing had to grow after {where}")
    return [] if code == STOPPED else [f"exit: {code}, not 10, at {where}: {_last(victim.err)}"]


def report_folder(scene: Scene, rng: random.Random) -> list[str]:
    """No room for the file of refused keys (``ulimit -f``): nothing half-written is believed."""
    subject = scene.ground.subject
    column = "country_code" if subject.name == "bank" else "country"
    wrong = "XX" if subject.name == "bank" else "nowhere"
    with psycopg.connect(scene.journey.source) as connection:
        if subject.name == "bank":
            connection.execute("INSERT INTO bank.country VALUES ('XX', 'Nowhere')")
        connection.execute(
            f"ALTER TABLE {subject.schema}.client ADD kept text; UPDATE {subject.schema}.client "
            f"SET kept = {column}, {column} = '{wrong}'".encode()
        )
        connection.execute(f"ALTER TABLE {subject.schema}.client RENAME kept TO kept_".encode())
    before = scene.content()
    victim = scene.start(limits=4096)
    lines = _ends(victim, 9, STOPPED, what="a refusal without room for its file")
    if scene.content() != before:
        lines.append("guard: the refused run wrote something")
    with psycopg.connect(scene.journey.source) as connection:
        connection.execute(
            f"UPDATE {subject.schema}.client SET {column} = kept_; "
            f"ALTER TABLE {subject.schema}.client DROP kept_".encode()
        )
        if subject.name == "bank":
            connection.execute("DELETE FROM bank.country WHERE code = 'XX'")
    return lines


# 12 and 13: locks ---------------------------------------------------------------------------------


def long_reader(scene: Scene, rng: random.Random) -> list[str]:
    """Somebody reads a table of the target when its constraints are taken down."""
    subject = scene.ground.subject
    table = rng.choice(["client", "account", "transfer"])
    read = f"SELECT count(*) FROM {subject.target}.{table}".encode()
    lines: list[str] = []
    with (
        psycopg.connect(scene.journey.postgres) as reader,
        psycopg.connect(scene.journey.postgres, autocommit=True) as application,
    ):
        reader.execute(read)
        application.execute("SET statement_timeout = '8s'")
        started = time.monotonic()
        victim = scene.start()
        while not victim.ended(0.2) and not lines:
            try:
                application.execute(read)
            except psycopg.errors.QueryCanceled:
                lines.append(f"lock: the application waits for {table} behind the run for over 8 s")
            if time.monotonic() - started > SILENCE:
                lines.append(f"lock: the run waits for more than {SILENCE:g} s behind a reader")
        if not lines:
            lines += _ends(victim, 8, what="a run behind a long reader")
        victim.kill()
    return lines


def deadlock(scene: Scene, rng: random.Random) -> list[str]:
    """Another session's lock on the journal goes away late: the run waits, or exits 8 or 10."""
    victim, where = _stopped(scene, rng, "before-rows")
    with psycopg.connect(scene.journey.postgres) as other:
        other.execute("LOCK TABLE regionkit.chunk IN EXCLUSIVE MODE")
        victim.signal(signal.SIGCONT)
        victim.ended(0.3 + rng.random())
        other.rollback()
    return [f"{line} at {where}" for line in _ends(victim, 0, 8, STOPPED)]


# 14: the source changes ---------------------------------------------------------------------------


def _changed(kind: str) -> Callable[[Scene, random.Random], list[str]]:
    def strike(scene: Scene, rng: random.Random) -> list[str]:
        victim, where = _stopped(scene, rng, *COPYING, "before-looking-for-changes")
        number = rng.randint(1, 80)
        try:
            scene.change(kind, number)
        except psycopg.errors.LockNotAvailable as error:
            raise Missed(f"{kind} has to wait for the run") from error
        victim.signal(signal.SIGCONT)
        lines = [
            f"change: {line} at {where}, change {number}" for line in _ends(victim, 5, 9, STOPPED)
        ]
        scene.expire()
        return lines

    return strike


def ddl_meanwhile(scene: Scene, rng: random.Random) -> list[str]:
    """A column is added to the source while its rows are being copied."""
    victim, where = _stopped(scene, rng, *COPYING, "before-looking-for-changes")
    schema, table = scene.ground.subject.schema, "client"
    with psycopg.connect(scene.journey.source, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '2s'")
        try:
            connection.execute(f"ALTER TABLE {schema}.{table} ADD added integer DEFAULT 7".encode())
        except psycopg.errors.LockNotAvailable:
            # The readers hold their locks: the source cannot change under them.
            victim.signal(signal.SIGCONT)
            return _ends(victim, 0)
    victim.signal(signal.SIGCONT)
    lines = [f"change: {line} at {where}" for line in _ends(victim, 5, 9, STOPPED)]
    scene.expire()
    execute(scene.journey.source, f"ALTER TABLE {schema}.{table} DROP added")
    return lines


# All of them --------------------------------------------------------------------------------------


KINDS: tuple[Kind, ...] = (
    *(
        Kind(
            f"kill {point.name}",
            1,
            _kill(point),
            _modes(point),
            10,
            point=point.name,
            writes=point.writes,
            changing=point.start == "changed",
        )
        for point in FAILPOINTS
    ),
    Kind(
        "kill between-commit-and-reply",
        1,
        kill_in_commit,
        count=10,
        point="between-commit-and-reply",
    ),
    Kind("a second run while the first sleeps, its sessions ended", 2, overtaken, count=6),
    Kind("a second run while the first sleeps", 4, asleep, count=6),
    Kind("SIGINT", 3, _signalled(signal.SIGINT, 1)),
    Kind("SIGTERM", 3, _signalled(signal.SIGTERM, 1)),
    Kind("SIGINT twice", 3, _signalled(signal.SIGINT, 2)),
    Kind("two runs at once", 5, twice),
    Kind("dry run over half-done work", 6, dry_run),
    Kind("resume with another configuration", 7, another_configuration),
    Kind("resume with another schema", 7, another_schema, changing=True),
    Kind(
        "kill -9 of the source",
        8,
        _server_killed("source"),
        ("other", "mongo"),
        20,
        server="postgres",
    ),
    Kind(
        "kill -9 of the target",
        8,
        _server_killed("target"),
        ("same", "other"),
        24,
        server="postgres",
    ),
    Kind(
        "kill -9 of the target, which stays away",
        8,
        _server_killed("target", back=False),
        ("same", "other"),
        4,
        server="postgres",
    ),
    Kind("kill -9 of mongod", 8, _server_killed("mongo"), ("mongo",), 40, server="mongod"),
    Kind(
        "kill -9 of mongod, which stays away",
        8,
        _server_killed("mongo", back=False),
        ("mongo",),
        3,
        server="mongod",
        slow=True,
    ),
    Kind("pg_terminate_backend of the copier", 9, _terminated("copier")),
    Kind("pg_terminate_backend of the snapshot holder", 9, _terminated("snapshot holder")),
    Kind(
        "pg_terminate_backend of the lock holder", 9, _terminated("lock holder"), ("same", "other")
    ),
    Kind("cut before a request to the target", 10, _network("target", "cut-before")),
    Kind("cut after a request to the target", 10, _network("target", "cut-after")),
    Kind(
        "cut before a request to the source",
        10,
        _network("source", "cut-before"),
        ("other", "mongo"),
        4,
    ),
    Kind("black hole before the target", 10, _network("target", "black-hole"), count=3, slow=True),
    Kind(
        "black hole before the source",
        10,
        _network("source", "black-hole"),
        ("other", "mongo"),
        2,
        slow=True,
    ),
    Kind("a full disk under the target", 11, disk_full, count=6),
    Kind("no room for the reports", 11, report_folder, count=4, changing=True),
    Kind("a long reader before DDL", 12, long_reader, ("same", "other"), 4, slow=True),
    Kind("a lock on the journal", 13, deadlock, ("same", "other"), 4),
    *(
        Kind(f"the source changes: {change}", 14, _changed(change), count=4, changing=True)
        for change in ("insert", "update", "delete", "key", "region", "truncate")
    ),
    Kind("the source changes: DDL", 14, ddl_meanwhile, count=4, changing=True),
)
