"""What a lab keeps in its folder, and the lock on it.

::

    lab.lock                   held by the command that works here (a bound lab: for its whole life)
    state.json                 the password, ports and versions; readable by its owner only
    postgres/      mongo/      the data
    postgres.pid   mongo.pid   the process that was started last, as JSON
    postgres.log   mongo.log   what it said
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from toolkit.errors import Refused, UsageError, sampled

#: What a lab's folder may hold before it has a state: a first ``up`` was interrupted early.
_BEFORE_STATE = {".gitignore", "lab.lock", "state.new"}

#: Below the ports that the kernel gives to outgoing connections: one of those could take a
#: server's port while it is down, and whoever polls such a port may connect to itself.
_PORTS = range(20_000, 32_768)


@dataclass(frozen=True)
class State:
    """What must survive a restart.

    Attributes:
        password: of the PostgreSQL user; the lab's own, good for nothing else.
        ports: by name of the server; kept so that a restart does not change the URLs.
        versions: by name of the server, as it said itself.
    """

    password: str
    ports: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def with_port(self, name: str, port: int) -> State:
        """Return this state with another port for ``name``."""
        return replace(self, ports={**self.ports, name: port})

    def with_version(self, name: str, version: str) -> State:
        """Return this state with another version for ``name``."""
        return replace(self, versions={**self.versions, name: version})


@dataclass(frozen=True)
class Paths:
    """The names of everything in a lab's folder (absolute, without symbolic links)."""

    folder: Path

    @property
    def state(self) -> Path:
        """Where the state is kept."""
        return self.folder / "state.json"

    @property
    def lock(self) -> Path:
        """The file that is locked."""
        return self.folder / "lab.lock"

    def data(self, name: str) -> Path:
        """Return the data folder of a server."""
        return self.folder / name

    def record(self, name: str) -> Path:
        """Return where the process of a server is noted."""
        return self.folder / f"{name}.pid"

    def log(self, name: str) -> Path:
        """Return where a server writes what it has to say."""
        return self.folder / f"{name}.log"


def new_state() -> State:
    """Return the state of a lab that does not exist yet, with a password of its own."""
    return State(password=secrets.token_urlsafe(18))


def read_state(paths: Paths) -> State | None:
    """Return the state in ``paths``, or None for a lab that was never up.

    Raises:
        Refused: the lab belongs to another user.
        UsageError: the file is damaged.
    """
    try:
        if paths.state.stat().st_uid != os.geteuid():
            raise _not_yours(paths)
        return State(**json.loads(paths.state.read_text()))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise _not_yours(paths) from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the lab's state in {paths.state} cannot be read",
            hint=f"stop its servers and remove {paths.folder}",
        ) from error


def write_state(paths: Paths, state: State) -> None:
    """Write the state so that a reader sees the old one or the new one, never half of it."""
    new = paths.state.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(state), file, indent=2)
    new.replace(paths.state)


def prepare_folder(paths: Paths) -> None:
    """Make the lab's folder, which hides itself from git because a password is in it.

    Raises:
        UsageError: the folder cannot be made or written, or holds something else.
    """
    try:
        paths.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        strangers = {entry.name for entry in paths.folder.iterdir()} - _BEFORE_STATE
        if strangers and not paths.state.exists():
            raise UsageError(
                f"{paths.folder} is not a lab and not empty",
                hint="name a new folder with --folder",
                details=sampled(sorted(strangers)),
            )
        (paths.folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise UsageError(
            f"cannot write in {paths.folder}: {error.strerror}",
            hint="choose another place with --folder",
        ) from error


def lock(paths: Paths) -> int | None:
    """Lock the lab and return the descriptor that holds the lock; None when it is held elsewhere.

    Closing the descriptor unlocks; so does the end of this process, however it ends.
    """
    try:
        descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise _not_yours(paths) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def free_port(preferred: int | None) -> int:
    """Return ``preferred`` if nobody has it, else a random port that is free at this moment.

    Raises:
        UsageError: no free port was found.
    """
    tries = [preferred] if preferred else []
    tries += [secrets.choice(_PORTS) for _ in range(100)]
    for port in tries:
        if _is_free(port):
            return port
    raise UsageError("no free TCP port on 127.0.0.1", hint="stop some of the listening programs")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: connections that are still closing do not make a port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _not_yours(paths: Paths) -> Refused:
    return Refused(
        f"the lab in {paths.folder} belongs to another user",
        hint="run as that user, or choose another place with --folder",
    )
