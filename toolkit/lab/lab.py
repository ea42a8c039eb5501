"""The lab as a whole: which servers there are, and bringing them up and down together."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.errors import LockNotObtained, Refused, UsageError
from toolkit.lab import mongo, postgres
from toolkit.lab.processes import ProcessRecord, is_running, read_record, start, stop
from toolkit.lab.signals import Interruptible
from toolkit.lab.state import (
    Paths,
    State,
    free_port,
    lock,
    new_state,
    prepare_folder,
    read_state,
    write_state,
)
from toolkit.lab.waiting import Died, not_started

#: Every server, in the order in which they are shown.
SERVERS = (postgres.NAME, mongo.NAME)

#: How often a server is started anew because its port was taken between choosing and using it.
_ATTEMPTS = 3


@dataclass(frozen=True)
class LabServer:
    """A server of a lab, as it is at this moment.

    Attributes:
        name: ``postgres`` or ``mongo``.
        state: ``running``; ``stopped`` when there is data but no server; ``absent`` when there is
            neither.
        url: how to connect, with the lab's own throwaway password; None unless running.
        pid: its process; None unless running.
        port: on 127.0.0.1; None unless running.
        folder: its data folder.
        version: as it said itself when it was last started; None before that.
    """

    name: str
    state: Literal["running", "stopped", "absent"]
    url: str | None
    pid: int | None
    port: int | None
    folder: Path
    version: str | None


def default_folder(project: Path) -> Path:
    """Return where the lab of the project in the folder ``project`` is."""
    return project / ".regionkit" / "lab"


class Lab:
    """An embedded PostgreSQL and an embedded MongoDB in one folder.

    The servers outlive the process that starts them, until ``down``. For servers that do not, see
    ``temporary_lab``.

    Args:
        folder: where its data are kept.
        server: which PostgreSQL, and how. Its data folder stays with the version that made it.
    """

    def __init__(self, folder: Path, server: postgres.Server | None = None) -> None:
        self.folder = folder.resolve()
        self._postgres = server or postgres.Server()
        self._paths = Paths(self.folder)
        self._bound_lock: int | None = None

    def up(self, servers: Collection[str] = SERVERS, fast: bool = False) -> list[LabServer]:
        """Start the servers that are not running, and return all that were asked for, ready.

        Whatever fails or interrupts this, it stops what it started. Existing data are kept.

        Args:
            servers: any of ``postgres`` and ``mongo``.
            fast: PostgreSQL without durability (a crash of the machine loses data), for tests; it
                is ten times faster at small commits. No effect on a server that runs already.

        Raises:
            UsageError: a server is not installed or not known, or the folder cannot be used.
            LockNotObtained: another command works on this lab at this moment.
            Refused: somebody else's server uses the data, or the lab is another user's.
            ConnectionFailed: a server did not come up.
        """
        unknown = sorted(set(servers) - set(SERVERS))
        if unknown:
            raise UsageError(
                f"the lab has no server {unknown[0]!r}", hint=f"choose from {', '.join(SERVERS)}"
            )
        prepare_folder(self._paths)
        with self._locked(), Interruptible() as signals:
            started: dict[str, ProcessRecord] = {}
            try:
                self._start_all(servers, fast, signals, started)
            except BaseException:
                for name, record in started.items():
                    self._stop(name, record)
                raise
        return [server for server in self.status() if server.name in servers]

    def down(self) -> None:
        """Stop the servers and wait until they are gone; nothing happens when none runs.

        Raises:
            LockNotObtained: another command works on this lab at this moment.
            Refused: the lab belongs to another user, or to a process that is still running.
        """
        if read_state(self._paths) is None:
            return
        with self._locked():
            self._stop_all()

    def status(self) -> list[LabServer]:
        """Return each server as it is at this moment.

        Raises:
            Refused: the lab belongs to another user.
            UsageError: the lab's state is damaged.
        """
        state = read_state(self._paths)
        return [self._look_at(name, state) for name in SERVERS]

    def url(self, name: str) -> str | None:
        """Return the URL of ``postgres`` or ``mongo``, or None when it is not running."""
        return next((server.url for server in self.status() if server.name == name), None)

    # -- starting

    def _start_all(
        self,
        servers: Collection[str],
        fast: bool,
        signals: Interruptible,
        started: dict[str, ProcessRecord],
    ) -> None:
        # mongod starts while PostgreSQL's data folder is being made: without threads, because a
        # bound server dies with the thread that started it.
        for name in reversed(SERVERS):
            if name in servers and self._running(name) is None:
                self._launch(name, fast, signals, started)
        for name in SERVERS:
            if name in servers:
                self._settle(name, fast, signals, started)

    def _running(self, name: str) -> ProcessRecord | None:
        """Return the running server that this lab may use, having ended one that it may not."""
        record = self._alive(name)
        if record is None or record.bound_to == self._bound_to:
            return record
        if record.bound_to == 0:
            raise Refused(
                f"the lab in {self.folder} is running already",
                hint=f"stop it with: regionkit lab down --folder {self.folder}",
            )
        # Its parent would hold the lock: it is dead, and the server is just ending.
        self._stop(name, record)
        return None

    def _launch(
        self,
        name: str,
        fast: bool,
        signals: Interruptible,
        started: dict[str, ProcessRecord],
    ) -> None:
        state = self._state(name)
        # Before any data exist: without their password they would be lost.
        write_state(self._paths, state)
        if name == postgres.NAME:
            programs = self._postgres.programs
            how, program = postgres.prepare(self._paths, state, self._bound_to, programs)
        else:
            how, program = mongo.prepare(self._paths, state, self._bound_to)
        port = free_port(state.ports.get(name))
        write_state(self._paths, state.with_port(name, port))
        data = self._paths.data(name)
        if name == postgres.NAME:
            settings = self._postgres.settings
            program += postgres.command(data, port, fast=fast, settings=settings)
        else:
            program += mongo.command(data, port)
        with signals.shield():
            started[name] = start(how, program, self._paths.log(name))

    def _settle(
        self,
        name: str,
        fast: bool,
        signals: Interruptible,
        started: dict[str, ProcessRecord],
    ) -> None:
        settle = postgres.settle if name == postgres.NAME else mongo.settle
        for _ in range(_ATTEMPTS):
            state = self._state(name)
            record = started.get(name) or self._alive(name)
            port = state.ports[name]
            try:
                if record is None:
                    raise Died
                version = settle(self._paths, port, state, record)
            except Died:
                if free_port(port) == port:
                    break
                self._launch(name, fast, signals, started)
                continue
            write_state(self._paths, self._state(name).with_version(name, version))
            return
        title = postgres.TITLE if name == postgres.NAME else mongo.TITLE
        raise not_started(title, self._paths.log(name))

    def _state(self, name: str) -> State:
        state = read_state(self._paths)
        if state is None and self._paths.data(name).exists():
            raise Refused(
                f"{self._paths.data(name)} exists, but the password of its lab is gone",
                hint=f"remove {self.folder}, or choose another place with --folder",
            )
        return state or new_state()

    # -- stopping

    def _stop_all(self) -> None:
        for name in SERVERS:
            record = self._alive(name)
            # A bound lab was refused if there are others: those are not its own to stop.
            if record is not None and (not self._bound_to or record.bound_to == self._bound_to):
                self._stop(name, record)
        postgres.end_orphans(self._paths.data(postgres.NAME))

    def _stop(self, name: str, record: ProcessRecord) -> None:
        stop(record, self._paths.data(name))
        if name == postgres.NAME:
            postgres.end_orphans(self._paths.data(name))
        self._paths.record(name).unlink(missing_ok=True)

    # -- looking

    def _alive(self, name: str) -> ProcessRecord | None:
        record = read_record(self._paths.record(name))
        if record is not None and is_running(record, self._paths.data(name)):
            return record
        return None

    def _look_at(self, name: str, state: State | None) -> LabServer:
        data = self._paths.data(name)
        version = state.versions.get(name) if state else None
        record = self._alive(name)
        if state is None or record is None:
            there: Literal["stopped", "absent"] = "stopped" if data.exists() else "absent"
            return LabServer(name, there, None, None, None, data, version)
        port = state.ports[name]
        url = postgres.url(state.password, port) if name == postgres.NAME else mongo.url(port)
        return LabServer(name, "running", url, record.pid, port, data, version)

    # -- belonging to a process

    @property
    def _bound_to(self) -> int:
        return os.getpid() if self._bound_lock is not None else 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._bound_lock is not None:
            yield
            return
        descriptor = self._lock()
        try:
            yield
        finally:
            os.close(descriptor)

    def _lock(self) -> int:
        descriptor = lock(self._paths)
        if descriptor is not None:
            return descriptor
        for name in SERVERS:
            record = self._alive(name)
            if record is not None and record.bound_to:
                raise Refused(
                    f"process {record.bound_to} is using the lab in {self.folder}",
                    hint="wait until it ends, or choose another place with --folder",
                )
        raise LockNotObtained(
            f"another command is working on the lab in {self.folder}",
            hint="run this again when it has ended",
        )

    def _bind(self) -> None:
        """Make this process the lab's owner: its servers die with it, and nobody else may come."""
        prepare_folder(self._paths)
        self._bound_lock = self._lock()

    def _unbind(self, *, keep_data: bool) -> None:
        if self._bound_lock is not None:
            mongod = self._alive(mongo.NAME)
            if mongod is not None and not keep_data:
                # A clean stop takes mongod one second. PostgreSQL's is quick, and without it
                # shared memory would stay behind.
                stop(mongod, self._paths.data(mongo.NAME), timeout=0)
            self._stop_all()
            os.close(self._bound_lock)
            self._bound_lock = None


@contextmanager
def temporary_lab(
    folder: Path | None = None,
    *,
    fast: bool = False,
    servers: Collection[str] = SERVERS,
    server: postgres.Server | None = None,
) -> Iterator[Lab]:
    """Give a running lab whose servers die with this process, even when it is killed.

    The kernel binds the servers to the calling *thread*: it must live as long as the lab. Inside
    the ``with``, ``down`` and ``up`` work as usual.

    Args:
        folder: where its data are kept; by default a new folder, removed at the end. (After
            ``kill -9`` the servers are gone, but that folder stays.)
        fast: as in ``Lab.up``.
        servers: as in ``Lab.up``.
        server: as in ``Lab``.

    Raises:
        Refused: a lab is running in ``folder`` already.
        Others: as ``Lab.up``.
    """
    path = folder or Path(tempfile.mkdtemp(prefix="regionkit-lab-"))
    lab = Lab(path, server)
    try:
        lab._bind()
        lab.up(servers, fast)
        yield lab
    finally:
        with Interruptible() as signals, signals.shield():
            lab._unbind(keep_data=folder is not None)
            if folder is None:
                shutil.rmtree(path, ignore_errors=True)
