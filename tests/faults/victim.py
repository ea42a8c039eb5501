"""The process that a fault strikes: the command line of regionkit, with traps in it.

``python -m tests.faults.victim '{"arguments": [...], "traps": [...]}'`` runs one. Because a
campaign needs hundreds and an import takes longer than a migration, ``--serve`` keeps one process
that has imported everything and forks a victim for each line on its stdin::

    {"start": {"arguments": ["migrate"], "env": {}, "cwd": "/", "traps": [], "out": "", "err": ""}}
    {"wait": 4711}

It answers each with a line: the victim's pid, and its status as ``subprocess`` gives it. When its
stdin ends, it kills what is left and goes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from tests.faults.failpoints import Trap, install
from toolkit.cli.main import main


def run(request: dict[str, Any]) -> int:
    """Run the command line in this process; return its exit code."""
    for trap in request["traps"]:
        install(Trap(**trap))
    for name in [name for name in os.environ if name.startswith("REGIONKIT")]:
        del os.environ[name]
    os.environ.update(request.get("env", {}))
    if request.get("cwd"):
        os.chdir(request["cwd"])
    sys.argv = ["regionkit", *request["arguments"]]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for target, path in ((1, request["out"]), (2, request["err"])):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(descriptor, target)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        limits = request.get("limits")
        if limits:
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limits, limits))
        code = run(request)
    except BaseException:  # noqa: BLE001 - as the interpreter would end, but never back in the loop
        import traceback

        traceback.print_exc()
    finally:
        # As an interpreter does it at its end: threads first, then what is buffered.
        import threading

        threading._shutdown()  # type: ignore[attr-defined]
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Fork victims until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    alive: set[int] = set()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            if "start" in request:
                pid = _fork(request["start"])
                alive.add(pid)
                answer = {"pid": pid}
            else:
                _, status = os.waitpid(request["wait"], 0)
                alive.discard(request["wait"])
                answer = {"status": os.waitstatus_to_exitcode(status)}
            print(json.dumps(answer), flush=True)
    finally:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        sys.exit(run(json.loads(sys.argv[1])))
