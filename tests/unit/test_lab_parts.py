"""The lab's decisions that need no server."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.cli import lab as cli
from toolkit.errors import Refused, StoppedByUser, UsageError
from toolkit.lab import Lab, LabServer, default_folder, mongo, postgres
from toolkit.lab.processes import Launch, ProcessRecord, is_running, read_record
from toolkit.lab.signals import Interruptible
from toolkit.lab.state import (
    Paths,
    free_port,
    new_state,
    prepare_folder,
    read_state,
    write_state,
)
from toolkit.lab.waiting import last_words


def test_urls() -> None:
    assert postgres.url("pw", 1) == (
        "postgresql://regionkit:pw@127.0.0.1:1/regionkit?sslmode=disable&gssencmode=disable"
    )
    assert mongo.url(1) == "mongodb://127.0.0.1:1/?directConnection=true&replicaSet=rs0"


@pytest.mark.parametrize("fast", [False, True])
def test_durability_is_given_up_only_when_asked(fast: bool) -> None:
    arguments = postgres.command(Path("/d"), 1, fast=fast)
    assert ("fsync=off" in arguments) == fast
    assert "listen_addresses=127.0.0.1" in arguments
    assert arguments[:2] == ["-D", "/d"]


def test_cluster_name_is_of_the_folder_and_short_enough() -> None:
    first, second = (postgres.cluster_name(Path(name)) for name in ("/a" * 200, "/b"))
    assert first != second and len(first) < 63


def test_mongod_listens_on_loopback_and_leaves_no_socket_file() -> None:
    arguments = mongo.command(Path("/d"), 1)
    assert arguments[arguments.index("--bind_ip") + 1] == "127.0.0.1"
    assert "--nounixsocket" in arguments


def test_default_folder() -> None:
    assert default_folder(Path("/p")) == Path("/p/.regionkit/lab")


def test_state_survives_and_is_private(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "lab")
    prepare_folder(paths)
    assert read_state(paths) is None
    state = new_state().with_port("mongo", 5).with_version("mongo", "6")
    write_state(paths, state)
    assert read_state(paths) == state
    assert stat.S_IMODE(paths.state.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.folder.stat().st_mode) == 0o700
    assert (paths.folder / ".gitignore").read_text() == "*\n"
    assert new_state().password != new_state().password


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": 1}'])
def test_damaged_state_is_an_error_with_a_way_out(tmp_path: Path, content: str) -> None:
    paths = Paths(tmp_path)
    paths.state.write_text(content)
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read_state(paths)
    assert str(tmp_path) in caught.value.hint


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match="not a lab and not empty") as caught:
        Lab(tmp_path).up()
    assert caught.value.details == ("thesis.txt",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        Lab(tmp_path / "file" / "lab").up()


def test_data_without_their_password_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lab.lock").touch()
    lab = Lab(tmp_path)
    (tmp_path / "mongo").mkdir()
    with pytest.raises(UsageError, match="not a lab"):
        lab.up()
    with pytest.raises(Refused, match="password of its lab is gone"):
        lab._state("mongo")


def test_unknown_server() -> None:
    with pytest.raises(UsageError, match="no server 'oracle'"):
        Lab(Path("/nowhere")).up(["oracle"])


def test_free_port_keeps_the_preferred_one() -> None:
    port = free_port(None)
    assert 20_000 <= port < 32_768
    assert free_port(port) == port


def test_this_process_is_no_server_of_a_lab(tmp_path: Path) -> None:
    record = tmp_path / "postgres.pid"
    record.write_text(json.dumps({"pid": os.getpid(), "started": 1, "bound_to": 0}))
    assert read_record(record) == ProcessRecord(os.getpid(), 1, 0)
    assert not is_running(ProcessRecord(os.getpid(), 1), tmp_path)


def test_launch_names_the_program_last() -> None:
    assert Launch("/d", bound_to=3).command(["/bin/true", "/d"])[-2:] == ["/bin/true", "/d"]


def test_last_words_of_json_logs_are_errors_only() -> None:
    log = "\n".join(
        [
            "plain",
            '{"s": "I", "msg": "chatter"}',
            '{"s": "E", "msg": "no disk", "attr": {"path": "/d"}}',
            "{broken",
        ]
    )
    assert last_words(log) == ["plain", 'no disk {"path": "/d"}', "{broken"]
    assert len(last_words("x\n" * 99)) == 5


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, StoppedByUser)],
)
def test_a_signal_is_held_back_by_the_shield_and_raised_once(
    number: signal.Signals, expected: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    reached = []
    with Interruptible() as signals:
        with pytest.raises(expected), signals.shield():
            os.kill(os.getpid(), number)
            reached.append("in the shield")
        os.kill(os.getpid(), number)
        reached.append("in the clean-up")
    assert reached == ["in the shield", "in the clean-up"]
    assert signal.getsignal(number) is before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_text_hides_the_password_and_json_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LabServer("postgres", "running", postgres.url("canary", 1), 1, 1, Path("/d"), "18.6")
    monkeypatch.setattr(Lab, "status", lambda self: [server])
    text = CliRunner().invoke(cli.app, ["status"])
    assert text.exit_code == 0 and "canary" not in text.output and "127.0.0.1:1" in text.output
    document = json.loads(CliRunner().invoke(cli.app, ["status", "--output", "json"]).stdout)
    assert "canary" in document["servers"][0]["url"]
    assert document["schema_version"] == 1


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_help_teaches(command: str) -> None:
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert "--folder" in result.output and "--output" in result.output
