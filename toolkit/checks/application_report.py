"""What ``check application`` found out, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from toolkit.errors import FindingsError, sampled


class Severity(StrEnum):
    """How bad a finding is, the worst first."""

    fail = "fail"
    change = "change"
    prune = "prune"

    @property
    def meaning(self) -> str:
        """What it means for a statement."""
        return _TITLES[self]

    def reaches(self, other: Severity) -> bool:
        """Return whether this is as bad as another, or worse."""
        order = list(Severity)
        return order.index(self) <= order.index(other)


_TITLES = {
    Severity.fail: "would fail",
    Severity.change: "changes meaning",
    Severity.prune: "asks every region",
}


class Code(StrEnum):
    """Every kind of finding. The value is stable: scripts match on it."""

    insert_without_region = "insert-without-region"
    copy_without_region = "copy-without-region"
    copy_from_parent = "copy-from-parent"
    conflict_target = "conflict-target"
    called_otherwise = "called-otherwise"
    left_behind = "left-behind"
    refused = "refused-by-server"
    updates_client_key = "updates-client-key"
    updates_region = "updates-region"
    ddl_fails = "ddl-fails"
    updates_key = "updates-key"
    region_in_where = "region-in-where"
    more_columns = "more-columns"
    leaves_link = "leaves-link"
    unique_per_region = "unique-per-region"
    conflict_in_one_region = "conflict-in-one-region"
    one_partition = "one-partition"
    only_parent = "only-parent"
    row_address = "row-address"
    truncates = "truncates"
    defers_more = "defers-more"
    ddl = "ddl"
    every_region = "every-region"
    join_without_region = "join-without-region"
    locks_every_region = "locks-every-region"

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        if self in _FAIL:
            return Severity.fail
        return Severity.prune if self in _PRUNE else Severity.change


_FAIL = frozenset(
    (
        Code.insert_without_region,
        Code.copy_without_region,
        Code.copy_from_parent,
        Code.conflict_target,
        Code.called_otherwise,
        Code.left_behind,
        Code.refused,
        Code.updates_client_key,
        Code.updates_region,
        Code.ddl_fails,
    )
)
_PRUNE = frozenset((Code.every_region, Code.join_without_region, Code.locks_every_region))


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it was with a statement.

    Attributes:
        code: what kind of thing.
        table: key of the table that it is about; empty where it is about none.
        reason: what happens, in words for the operator.
    """

    code: Code
    table: str
    reason: str


@dataclass(frozen=True)
class Form:
    """A statement that works on the layout and does what the old one did.

    Attributes:
        statement: with the old one's parameters first.
        parameters: what the parameters stand for that the old statement has not.
        note: when this form is the right one; empty where there is only one.
    """

    statement: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Judged:
    """One statement against the layout.

    Attributes:
        id: of the statement.
        text: of the statement, without its values.
        calls: how often it was called; ``None`` where nobody counted.
        problems: what is not as it was.
        forms: what works instead.
        unknown: why it could not be judged; empty where it could.
        regional: whether it touches rows that live in regions.
    """

    id: str
    text: str
    calls: int | None
    problems: tuple[Problem, ...] = ()
    forms: tuple[Form, ...] = ()
    unknown: str = ""
    regional: bool = False

    @property
    def severity(self) -> Severity | None:
        """The worst of its problems."""
        found = {problem.code.severity for problem in self.problems}
        return next((severity for severity in Severity if severity in found), None)

    def document(self) -> dict[str, Any]:
        """Return the statement for ``--output json``."""
        return {
            "id": self.id,
            "statement": self.text,
            "calls": self.calls,
            "severity": self.severity,
            "findings": [
                {
                    "id": f"{self.id}/{problem.code}",
                    "code": problem.code,
                    "severity": problem.code.severity,
                    "table": problem.table or None,
                    "reason": problem.reason,
                }
                for problem in self.problems
            ],
            "forms": [
                {
                    "statement": form.statement,
                    "parameters": dict(form.parameters),
                    "note": form.note or None,
                }
                for form in self.forms
            ],
            "not_judged": self.unknown or None,
        }


@dataclass(frozen=True)
class ApplicationReport:
    """What ``check application`` found out.

    Attributes:
        statements: every statement that was looked at, in the order of their calls.
        utilities: how many statements neither read nor write rows, nor change a table.
        hidden: how many statements of others could not be read.
    """

    statements: Sequence[Judged]
    utilities: int = 0
    hidden: int = 0

    def with_severity(self, severity: Severity) -> list[Judged]:
        """Return the statements of which this is the worst, the most called first."""
        return [one for one in self.statements if one.severity is severity]

    @property
    def unknown(self) -> list[Judged]:
        """The statements that could not be judged, or not wholly."""
        return [one for one in self.statements if one.unknown]

    @property
    def unchanged(self) -> int:
        """How many statements work as they did."""
        return sum(one.severity is None and not one.unknown for one in self.statements)

    def document(self) -> dict[str, Any]:
        """Return the report for ``--output json``."""
        return {
            "layout": "tables",
            "statements_read": len(self.statements) + self.utilities + self.hidden,
            "unchanged": self.unchanged,
            "utilities": self.utilities,
            "hidden": self.hidden,
            "counts": {severity: len(self.with_severity(severity)) for severity in Severity}
            | {"not_judged": len(self.unknown)},
            "statements": [
                one.document() for one in self.statements if one.problems or one.unknown
            ],
        }

    def require_good(self, fail_on: Severity, accepted: Collection[Code] = ()) -> None:
        """Raise if a finding is as bad as ``fail_on``, unless its kind is accepted.

        Raises:
            FindingsError: one is.
        """
        wrong = [
            f"{one.id}: {problem.code}: {problem.reason}"
            for one in self.statements
            for problem in one.problems
            if problem.code.severity.reaches(fail_on) and problem.code not in accepted
        ]
        if wrong:
            raise FindingsError(
                f"the application would not run as it is: {len(wrong)} finding(s)",
                details=sampled(wrong),
                hint="rewrite these statements, or accept a kind of finding with --accept; "
                "docs/check-application.md explains each",
            )
