"""Files that hold keys of clients: personal data, mode 0600, in one folder that can be removed."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.cli.output import stderr
from toolkit.cli.project import Project
from toolkit.refusal import Left, Refusal

#: The folder, inside the operator's project.
FOLDER = Path(".regionkit") / "keys"


def write(
    project: Project, name: str, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> Path:
    """Write a CSV file that only this user can read; return its path."""
    folder = project.configuration.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


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
