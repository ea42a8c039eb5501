"""Files that hold keys of clients: personal data, mode 0600, in one folder that can be removed."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from toolkit.cli.output import stderr
from toolkit.cli.project import Project
from toolkit.errors import Interrupted
from toolkit.refusal import Left, Refusal

#: The folder, inside the operator's project.
FOLDER = Path(".regionkit") / "keys"


def write(
    project: Project, name: str, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> Path:
    """Write a CSV file that only this user can read; return its path.

    Raises:
        Interrupted: it cannot be written; what was there before still is.
    """
    path = project.configuration.folder / FOLDER / name
    write_to(path, header, rows)
    return path


def write_to(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file that only this user can read.

    Raises:
        Interrupted: it cannot be written; what was there before still is.
    """
    try:
        with replacing(path) as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as error:
        raise Interrupted(
            f"the list of keys cannot be written to {path}: {error.strerror}",
            hint="make room there, then run the same command again",
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """Open a file that only this user can read; it is there when the block ends, and whole.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    # Under another name until it is whole, so that half of it is never taken for all.
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def write_refusals(project: Project, refusals: Iterable[Refusal]) -> None:
    """Write every key that a migration refuses, and say where."""
    rows = [(refusal.table, refusal.reason, key) for refusal in refusals for key in refusal.keys]
    path = write(project, "refused.csv", ("table", "reason", "key"), rows)
    stderr().print(f"every key is in {path} (personal data, readable by you alone)", markup=False)


def write_quarantine(project: Project, backend: str, left: Iterable[Left]) -> None:
    """Write every client that stays in the source, and say where."""
    rows = [(", ".join(one.client), one.reason) for one in left]
    path = write(project, f"quarantine-{backend}.csv", ("client", "reason"), rows)
    stderr().print(
        f"{len(rows)} client(s) stay in the source; each is in {path} (personal data, readable by "
        "you alone)",
        markup=False,
    )
