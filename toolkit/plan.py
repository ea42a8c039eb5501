"""What will be done, as data without a connection, so that it can be printed, hashed and tested."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One thing that ``apply`` does.

    Attributes:
        server: name of the server it is done on (``Topology.server``).
        action: what, in words: ``create regional table``.
        target: the object it is done to.
        detail: what makes this one different from its like.
        lock: the strongest lock it takes and on what; empty for none on anything that existed.
        rows: rows or documents it reads or writes, ``None`` when that is not known.
        reversible: whether ``apply --revert`` undoes it.
    """

    server: str
    action: str
    target: str
    detail: str = ""
    lock: str = ""
    rows: int | None = None
    reversible: bool = True

    def document(self) -> dict[str, Any]:
        """Return the step for ``--output json``."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """The steps of one revision on one backend, in order.

    Attributes:
        backend: ``postgres`` or ``mongo``.
        revision: the revision's id.
        steps: in the order in which they are done.
        locks: how many the server holds for it at once, at most; ``None`` where that is no matter.
    """

    backend: str
    revision: str
    steps: tuple[Step, ...]
    locks: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the plan for ``--output json``."""
        return {
            "backend": self.backend,
            "revision": self.revision,
            "steps": [step.document() for step in self.steps],
            "locks": self.locks,
        }
