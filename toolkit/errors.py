"""Every failure that an operator can expect, and the exit code that tells a script which it was.

::

    RegionkitError                 1   unexpected
    ├── UsageError                 2   usage or configuration
    ├── ChangesPending             3   changes pending, or drift
    ├── FindingsError              4   a check found something
    ├── VerificationFailed         5   source and target differ
    ├── ThresholdExceeded          6   a measured figure is above its threshold
    ├── ConnectionFailed           7   cannot connect
    ├── LockNotObtained            8   somebody else holds the lock
    ├── Refused                    9   a guard refused before anything was written
    ├── Interrupted               10   stopped half-way, can be resumed
    └── StoppedByUser            130   Ctrl-C

An error carries what happened (``message``), the next thing to do (``hint``) and the lines that
name each offender (``details``). The command line prints those three and nothing else: no foreign
exception and no traceback reaches the operator for an expected failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

#: Where several exit codes apply to one run, the first of these wins (``docs/exit-codes.md``).
EXIT_CODE_ORDER: tuple[int, ...] = (130, 1, 2, 7, 8, 9, 10, 5, 4, 3, 6, 0)

#: How many offenders an error names on the screen; the exact count is always given.
SAMPLES = 10


class RegionkitError(Exception):
    """Base of the tree. Raised as itself only for what nobody expected.

    Args:
        message: what happened and where, in one sentence without a trailing period.
        hint: the next command to run or the change to make.
        details: one line per offender, already bounded by the caller.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(redact(message))
        self.message = redact(message)
        self.hint = redact(hint)
        self.details = tuple(redact(line) for line in details)


class UsageError(RegionkitError):
    """The command line or ``regionkit.toml`` is wrong."""

    exit_code = 2


class ChangesPending(RegionkitError):
    """The database, the migrations and the model do not agree."""

    exit_code = 3


class FindingsError(RegionkitError):
    """A check ran and found something."""

    exit_code = 4


class VerificationFailed(RegionkitError):
    """Source and target are not equal."""

    exit_code = 5


class ThresholdExceeded(RegionkitError):
    """A measurement is above the threshold that ``regionkit.toml`` sets."""

    exit_code = 6


class ConnectionFailed(RegionkitError):
    """A server does not answer, or refuses the login."""

    exit_code = 7


class LockNotObtained(RegionkitError):
    """Another session holds what this one needs."""

    exit_code = 8


class Refused(RegionkitError):
    """A guard said no before anything was written."""

    exit_code = 9


class Interrupted(RegionkitError):
    """The work stopped half-way and can be resumed."""

    exit_code = 10


class StoppedByUser(RegionkitError):
    """The operator pressed Ctrl-C or the process was asked to terminate."""

    exit_code = 130


def worst_exit_code(codes: Iterable[int]) -> int:
    """Return the exit code of a run in which all of ``codes`` apply (0 when there is none)."""
    seen = set(codes)
    unknown = seen - set(EXIT_CODE_ORDER)
    if unknown:
        return 1
    return next((code for code in EXIT_CODE_ORDER if code in seen), 0)


def sampled(lines: Sequence[str], total: int | None = None) -> list[str]:
    """Return at most ``SAMPLES`` of ``lines``, and a last line with how many more there are."""
    count = len(lines) if total is None else total
    shown = list(lines[:SAMPLES])
    if count > len(shown):
        shown.append(f"... and {count - len(shown)} more")
    return shown


_SCHEME = r"(?P<head>\b[a-z][a-z0-9+.-]*://[^:/@\s]*)"
# Up to the last @, because a password that was not encoded may hold one.
_URL_PASSWORD = re.compile(rf"{_SCHEME}:[^/?#\s]*@", re.I)
# A password with a / or ? that was not encoded: no @ is left of a URL that has none.
_RAW_URL_PASSWORD = re.compile(rf"{_SCHEME}:(?:(?!://)\S)*@", re.I)
_NAMED_PASSWORD = re.compile(
    r"""(?P<head>(?P<query>[?&])?\b\w*(?:password|passwd|pwd)(?:["']\s*:\s*|\s*=\s*|\s+(?=')))
    (?:(?:'(?:[^'\\]|\\.|'')*'|"[^"]*")(?=["'\s,;)\]}&]|$)
    |(?:\\['\\]|(?!["'](?:[\s,;)\]}]|$))(?(query)[^&\s]|\S))+)""",
    re.I | re.X,
)


def redact(text: str) -> str:
    """Return ``text`` with the password of every URL and connection string replaced by ``***``.

    All places are covered: ``scheme://user:password@host``, ``?password=`` (SQLAlchemy hides the
    first and prints the second), ``password='...'`` as libpq and SQL write it, and JSON. Where it
    is not clear how far a password goes, too much is hidden rather than too little.
    """
    text = _URL_PASSWORD.sub(r"\g<head>:***@", text)
    text = _NAMED_PASSWORD.sub(r"\g<head>***", text)
    return _RAW_URL_PASSWORD.sub(r"\g<head>:***@", text)
