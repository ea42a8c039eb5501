"""Which tables of a statement hold rows of one client, and whether it says which. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from toolkit.checks.parsed import Lookup, Reading, Use
from toolkit.placement import ForeignKey


class Group:
    """Tables of a statement whose rows belong to one client.

    Attributes:
        uses: the tables.
        anchored: whether the statement says which client, by a key.
        many: whether it may say several.
        target: the table that ``referred`` leads to.
        referred: the table, and its foreign key, that leads here from another client's row.
    """

    def __init__(self, use: Use) -> None:
        self.uses = [use]
        self.anchored = False
        self.many = False
        self.target = use
        self.referred: tuple[Use, ForeignKey] | None = None


class Groups:
    """The groups of a statement.

    Args:
        reading: of the statement.
        lookups: the keys that it gives as values.
        named: the tables whose region it names.
    """

    def __init__(self, reading: Reading, lookups: Iterable[Lookup], named: Collection[Use]) -> None:
        self.named = named
        self._group = {use: Group(use) for use in reading.uses if use.regional}
        for look in lookups:
            group = self._group[look.use]
            group.anchored, group.many = True, group.many or look.many

    def join(self, left: Use, right: Use, reference: ForeignKey | None) -> None:
        """Note that two tables are joined; see ``Edge``."""
        one, other = self._group[left], self._group[right]
        if reference is not None:
            if one is not other and other.referred is None:
                other.referred, other.target = (left, reference), right
            return
        if one is other:
            return
        one.uses += other.uses
        one.anchored, one.many = one.anchored or other.anchored, one.many or other.many
        if one.referred is None:
            one.referred, one.target = other.referred, other.target
        for use in other.uses:
            self._group[use] = one

    def anchored(self, use: Use) -> bool:
        """Return whether the statement says which client the rows of a table belong to."""
        return self._group[use].anchored

    def all(self) -> Iterator[Group]:
        """Yield each group once."""
        yield from dict.fromkeys(self._group.values())
