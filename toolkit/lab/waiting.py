"""Waiting for a server to come up, and saying why it did not."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from toolkit.errors import ConnectionFailed

#: Seconds that a server gets to come up; long, because it may be recovering from a crash.
START_TIMEOUT = 60.0

_LINES = 5


class Died(Exception):
    """The server ended while it was waited for."""


def port_open(port: int) -> bool:
    """Return whether somebody listens on ``port`` of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def not_started(what: str, log: Path) -> ConnectionFailed:
    """Return the error for a server that did not come up, with the last it said in its log."""
    said = last_words(log.read_text(errors="replace") if log.exists() else "")
    hint = f"read {log}"
    if any("libcurl" in line for line in said):
        hint = "install the system's libcurl (Debian: apt-get install libcurl4)"
    return ConnectionFailed(f"{what} did not start", hint=hint, details=said)


def last_words(log: str) -> list[str]:
    """Return the last lines of a log; of MongoDB's JSON lines only the warnings and errors."""
    lines = [text for line in log.splitlines() if (text := _readable(line))]
    return lines[-_LINES:]


def _readable(line: str) -> str:
    if not line.startswith("{"):
        return line.strip()
    try:
        entry = json.loads(line)
        attributes = json.dumps(entry.get("attr", {}))
        return f"{entry['msg']} {attributes}" if entry["s"] in "EF" else ""
    except (ValueError, KeyError, TypeError):
        return line.strip()
