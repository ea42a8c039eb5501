"""Becomes a server: changes user, binds itself to its parent, says who it is, and execs.

Run as a script, by path, before anything else of regionkit is loaded; standard library only. A
program of its own rather than a ``preexec_fn``, because Python code between fork and exec can
deadlock in a process that has threads, and because a user namespace needs a single thread.

Usage: ``launch.py OPTIONS_JSON PROGRAM [ARGUMENT ...]``, where the options are those of
``toolkit.lab.processes.Launch``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1

#: Exit code when the program could not be started at all.
FAILED = 71


def main(arguments: list[str]) -> None:
    """Replace this process with the program that ``arguments`` name."""
    options: dict[str, Any] = json.loads(arguments[0])
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # Python ignores SIGPIPE, a shell ignores SIGINT for what it puts in the background, and both
    # are inherited through exec.
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _allow_open_files()
    if options["session"]:
        os.setsid()
    if options["record"]:
        # Before the program exists: a launcher killed at any point leaves no unknown server.
        _write_record(Path(options["record"]), options["bound_to"])
    _become(options["identity"], options["user"])
    if options["bound_to"]:
        # Last, because the kernel clears it at every change of user.
        _libc_call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != options["bound_to"]:
            raise OSError("the parent is gone")
    # As the new user: fails here, in words, when that user cannot reach the data folder.
    os.chdir(options["folder"])
    os.execv(arguments[1], arguments[1:])  # noqa: S606


def _allow_open_files() -> None:
    """Raise the limit of open files as far as this user may.

    MongoDB opens a file for each collection and each index, and ends when it may open no more; the
    usual limit of an ordinary user, 1024, is reached with a few migrated databases.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _write_record(path: Path, bound_to: int) -> None:
    # The fields of /proc/PID/stat after the name: the start time is the 22nd, counted from 1.
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    record = {"pid": os.getpid(), "started": started, "bound_to": bound_to}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(record))
    new.replace(path)


def _become(identity: str, user: int) -> None:
    if identity == "drop":
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    elif identity == "namespace":
        uid, gid = os.getuid(), os.getgid()
        _libc_call("unshare", _CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{user} {gid} 1")


def _libc_call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.stderr.write(f"cannot start {sys.argv[2]}: {error}\n")
        sys.exit(FAILED)
