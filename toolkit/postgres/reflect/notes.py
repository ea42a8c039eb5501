"""What a ``MetaData`` cannot hold, in words for the operator. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Note:
    """One thing of the source that the logical schema does not say, or says in another way.

    Attributes:
        table: its key.
        subject: what it is, by name; empty for the table itself.
        text: what became of it.
    """

    table: str
    subject: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.table, self.subject, self.text) if part)
