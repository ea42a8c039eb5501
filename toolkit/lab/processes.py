"""Starting, recognising and stopping servers.

A process is recognised by three things together: its pid, the time it started, and a command line
that names the data folder. A pid alone is reused by the kernel and proves nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from toolkit.lab import launch

#: Seconds that a server gets to stop by itself before it is killed.
STOP_TIMEOUT = 20.0

#: Seconds between two looks at something that is about to happen.
TICK = 0.01

#: As who a program runs: the caller, another user, or the caller under another user's number.
Identity = Literal["self", "drop", "namespace"]


@dataclass(frozen=True)
class ProcessRecord:
    """A process that the lab started.

    Attributes:
        pid: its number.
        started: its start time in clock ticks since the machine booted, from ``/proc``.
        bound_to: the pid of the process that it dies with, or 0.
    """

    pid: int
    started: int
    bound_to: int = 0


@dataclass(frozen=True)
class Launch:
    """How a program is started; the options of ``launch.py``.

    Attributes:
        folder: the working folder, entered as the new user.
        identity: as who it runs.
        user: the uid and gid for ``identity``; unused for ``self``.
        bound_to: the pid of the parent that it dies with, or 0. The kernel binds it to the *thread*
            that starts it: that thread must live as long as the server.
        record: where the started process writes its record; empty for none.
        session: whether it leaves the terminal, whose Ctrl-C would stop it otherwise.
    """

    folder: str
    identity: Identity = "self"
    user: int = 0
    bound_to: int = 0
    record: str = ""
    session: bool = True

    def command(self, program: Sequence[str]) -> list[str]:
        """Return the command line that becomes ``program``."""
        options = json.dumps(asdict(self))
        return [sys.executable, "-I", "-S", launch.__file__, options, *program]


def environment() -> dict[str, str]:
    """Return the environment of every program here: nothing of the operator's but search paths."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    # initdb would time every time zone of the world to guess the local one.
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def run(
    how: Launch, program: Sequence[str], *, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run ``program`` to its end and return its output; the caller judges the exit code.

    Args:
        how: as who and where.
        program: the command line.
        timeout: in seconds.
    """
    return subprocess.run(
        how.command(program),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def start(how: Launch, program: Sequence[str], log: Path) -> ProcessRecord:
    """Start ``program`` with its output appended to ``log``, and return its record."""
    command = how.command(program)
    # Not Popen: its object would outlive the call and complain of a child that is meant to stay.
    pid = os.posix_spawn(
        command[0],
        command,
        environment(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    return ProcessRecord(pid, _start_time(pid) or 0, how.bound_to)


def read_record(path: Path) -> ProcessRecord | None:
    """Return the record in ``path``, or None where there is none that can be read."""
    try:
        fields = json.loads(path.read_text())
        return ProcessRecord(int(fields["pid"]), int(fields["started"]), int(fields["bound_to"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def is_running(record: ProcessRecord, data: Path) -> bool:
    """Return whether ``record`` is a live process whose command line names ``data``."""
    _reap(record.pid)
    if _start_time(record.pid) != record.started:
        return False
    words = command_line(record.pid)
    # In the middle of an exec a process has no command line yet.
    return not words or str(data) in words


def stop(record: ProcessRecord, data: Path, timeout: float = STOP_TIMEOUT) -> None:
    """Ask a server to stop (SIGINT), wait, and kill it when it has not after ``timeout`` seconds.

    Does nothing when ``record`` is not running.
    """
    for number, patience in ((signal.SIGINT, timeout), (signal.SIGKILL, STOP_TIMEOUT)):
        if not is_running(record, data):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)
        deadline = time.monotonic() + patience
        while is_running(record, data) and time.monotonic() < deadline:
            time.sleep(TICK)


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; empty when it is gone, a zombie, or not to be seen."""
    try:
        words = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return []
    return words.split("\0") if words else []


def working_folder(pid: int) -> Path | None:
    """Return the working folder of a process; None when it is gone, or not to be seen.

    Root in a container without ``CAP_SYS_PTRACE`` cannot see it for another user's process.
    """
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def all_pids() -> list[int]:
    """Return the pid of every process of this machine (or container)."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def kill_and_wait(pids: Sequence[int], timeout: float = STOP_TIMEOUT) -> None:
    """Kill processes that have no parent left to stop them, and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + timeout
    while any(_start_time(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(TICK)


def _start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone or dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return None
    # A zombie is dead, but not while other threads of it still hold its files and its port.
    return None if fields[0] in "ZX" and threads <= 1 else int(fields[19])


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
