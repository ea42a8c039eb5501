"""Which way the rows of a table go home, decided by what the data say of every way. Pure.

Foreign keys alone cannot tell an order's customer from its card's customer, nor a payer from a
payee. The rows can: where all ways lead to the same client, any of them is right; where they
differ, the order of :class:`_Standing` decides, and where that does not, the operator has to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Table

from toolkit.evidence import Sharing, TableEvidence
from toolkit.placement import ForeignKey, Placement

#: So many rows at least must agree before a table is taken for private to its clients.
FEWEST_ROWS = 2


@dataclass(frozen=True)
class Choice:
    """Where the rows of a table belong, and how sure that is.

    Attributes:
        home: the foreign key that they follow; ``None`` for the root.
        same_region: further foreign keys that lead to the same client in every row.
        alternatives: foreign keys of equal standing that lead to other clients: the operator must
            say which one the rows follow. Empty where it is clear.
        stated: whether the operator has said so.
        why: the reason in words.
    """

    home: ForeignKey | None
    same_region: tuple[ForeignKey, ...] = ()
    alternatives: tuple[ForeignKey, ...] = ()
    stated: bool = False
    why: str = ""


def ways_of(placement: Placement, key: str) -> tuple[ForeignKey, ...]:
    """Return the foreign keys of a table that lead to a regional table, its home first."""
    placed = placement[key]
    others = [one for one in placed.roles if one != placed.home and placement[one.target].regional]
    return (*((placed.home,) if placed.home is not None else ()), *others)


#: From a table that is owned through another to that other one.
Through = Mapping[str, str]


def candidates(placement: Placement, key: str, through: Through) -> tuple[ForeignKey, ...]:
    """Return the foreign keys that the rows of a table could follow.

    A key is none if the client at its end is found by way of the table itself: it would lead in a
    circle.

    Args:
        placement: as it stands.
        key: of the table.
        through: the table through which each table is owned that has no way of its own.
    """
    if placement[key].home is None:
        return ()
    homes = {name: placed.home for name, placed in placement.tables.items()}
    return tuple(
        one for one in ways_of(placement, key) if key not in on_the_way(homes, one.target, through)
    )


def on_the_way(
    homes: Mapping[str, ForeignKey | None], key: str, through: Through
) -> frozenset[str]:
    """Return the tables that the client of a table's rows is found by, the table included."""
    seen: set[str] = set()
    queue = [key]
    while queue:
        at = queue.pop()
        if at in seen:
            continue
        seen.add(at)
        home = homes.get(at)
        if at in through:
            queue.append(through[at])
        elif home is not None:
            queue.append(home.target)
    return frozenset(seen)


def choose(
    placement: Placement,
    key: str,
    table: Table,
    found: TableEvidence,
    through: Through,
    stated: ForeignKey | None = None,
) -> Choice:
    """Decide which of its foreign keys the rows of an owned table follow.

    Args:
        placement: as it stands, the table placed by one of its keys.
        key: of the table.
        table: the table.
        found: what its rows say.
        through: the table through which each table is owned that has no way of its own.
        stated: the key that the operator has named, if any.
    """
    able = [stated] if stated is not None else list(candidates(placement, key, through))
    if not able:
        return Choice(placement[key].home)
    standing = {one: _standing(placement, table, found, through, one) for one in able}
    best = min(standing.values())
    equals = sorted((one for one in able if standing[one] == best), key=lambda one: one.columns)
    home = equals[0]
    if len(equals) > 1 and placement[key].home in equals:
        # What is so already needs no statement.
        home = next(one for one in equals if one == placement[key].home)
    others = [one for one in ways_of(placement, key) if not _is_twin(one, home)]
    same = tuple(one for one in others if stays(found, home, one))
    # Two keys of the same columns cannot be told apart in regionkit.toml, nor need they be.
    rivals = [one for one in equals if one.columns != home.columns and one not in same]
    return Choice(
        home,
        same,
        tuple(sorted((home, *rivals), key=lambda one: one.columns)) if rivals else (),
        stated is not None,
        _why(placement, found, home, able, standing, stated),
    )


def _is_twin(one: ForeignKey, other: ForeignKey) -> bool:
    """Return whether two foreign keys are one that is declared twice."""
    return replace(one, name=None) == replace(other, name=None)


def of_root(placement: Placement, found: TableEvidence) -> Choice:
    """Decide which foreign keys of the root lead to rows of the same client."""
    ways = ways_of(placement, placement.root)
    return Choice(None, tuple(one for one in ways if stays(found, None, one)))


def stays(found: TableEvidence, home: ForeignKey | None, other: ForeignKey) -> bool:
    """Return whether another way leads to the same client in every row, and in some at all.

    A row that the other way leads to no client from, although it is filled, has not stayed.
    """
    meeting = found.meeting(home, other)
    way = found.ways.get(other)
    if meeting.rows == 0 or meeting.clients > 0 or way is None:
        return False
    return way.clients == way.filled - way.nowhere and meeting.rows == way.clients


@dataclass(frozen=True, order=True)
class _Standing:
    """How good a way home is; the least is the best.

    Attributes:
        missing: whether some row has no client by it.
        derived: whether it leads over a table whose own client is found by who refers to it.
        length: how many foreign keys it takes.
        optional: whether the schema lets it be NULL.
    """

    missing: bool
    derived: bool
    length: int
    optional: bool


def _standing(
    placement: Placement, table: Table, found: TableEvidence, through: Through, key: ForeignKey
) -> _Standing:
    way = found.ways.get(key)
    missing = way is not None and way.clients < found.total
    path = placement[key.target].home_path
    derived = not through.keys().isdisjoint([key.target, *(hop.target for hop in path)])
    optional = any(
        column in table.columns and bool(table.columns[column].nullable) for column in key.columns
    )
    return _Standing(missing, derived, 1 + len(path), optional)


def _why(
    placement: Placement,
    found: TableEvidence,
    home: ForeignKey,
    able: Sequence[ForeignKey],
    standing: Mapping[ForeignKey, _Standing],
    stated: ForeignKey | None,
) -> str:
    if stated is not None:
        return "stated in regionkit.toml"
    if len(able) == 1:
        return "the only way to the root"
    differ = [one for one in able if one != home and found.meeting(home, one).clients]
    if not differ:
        if any(found.meeting(home, one).rows for one in able if one != home):
            return "all ways lead to the same client in every row"
        return "no row tells the ways apart"
    mine, theirs = standing[home], min(standing[one] for one in differ)
    if mine.missing != theirs.missing:
        return "the only way that leads every row to a client"
    if mine.derived != theirs.derived:
        return "the way that foreign keys declare up to the root"
    if mine.length != theirs.length:
        return "the shortest way"
    if mine.optional != theirs.optional:
        return "the only way that is never NULL"
    return "the first of several ways"


@dataclass(frozen=True)
class Privacy:
    """Whether the rows of a table without a path to the root belong to one client each.

    Attributes:
        through: the foreign key of the referencing table that tells the client; ``None`` where the
            table is global.
        sharing: what the rows say.
        proposed: a foreign key that would tell the client of most rows, for the operator to take.
        why: the reason in words.
    """

    through: ForeignKey | None
    sharing: Sharing
    proposed: ForeignKey | None = None
    why: str = ""


def private(sharing: Sharing, is_own: Callable[[ForeignKey], bool]) -> Privacy:
    """Decide whether a table that regional rows refer to belongs to the clients one by one.

    Args:
        sharing: what the rows say.
        is_own: whether the schema says by itself that a foreign key tells the owner: it is that
            of a link table, or no two rows have the same value.
    """
    if sharing.rows == 0:
        return Privacy(None, sharing, why="it has no row that could say whose it is")
    total = [
        key
        for key, use in sorted(sharing.by_key.items(), key=lambda item: str(item[0]))
        if use.shared == 0 and use.rows == sharing.rows
    ]
    own = [key for key in total if is_own(key)]
    if sharing.rows >= FEWEST_ROWS:
        if total and sharing.shared == 0:
            through = (own or total)[0]
            return Privacy(
                through, sharing, why="each row is referred to by the rows of one client"
            )
        if own:
            return Privacy(
                own[0],
                sharing,
                why=f"each row has one client by {own[0].table}, whoever else refers to it",
            )
    proposed = _proposed(sharing, total, is_own)
    return Privacy(None, sharing, proposed, _shared_why(sharing))


def _proposed(
    sharing: Sharing, total: Sequence[ForeignKey], is_own: Callable[[ForeignKey], bool]
) -> ForeignKey | None:
    """Return the key to offer where the data do not rule ownership out."""
    if total:
        return total[0]
    partly = [
        key
        for key, use in sorted(sharing.by_key.items(), key=lambda item: str(item[0]))
        if use.rows and use.shared == 0 and (sharing.shared == 0 or is_own(key))
    ]
    return max(partly, key=lambda key: sharing.by_key[key].rows, default=None)


def _shared_why(sharing: Sharing) -> str:
    if sharing.shared:
        least = "" if sharing.whole else "at least "
        return (
            f"{least}{sharing.shared:,} of {sharing.rows:,} row(s) are shared by several clients, "
            f"{sharing.regions:,} by clients of several regions"
        )
    unused = sharing.rows - sharing.used
    if unused:
        return f"no client refers to {unused:,} of {sharing.rows:,} row(s)"
    return f"too few rows to tell: {sharing.rows:,}"


@dataclass(frozen=True)
class Decisions:
    """Everything that the survey of the data ended in.

    Attributes:
        placement: with every choice taken.
        choices: of the root and every owned table.
        privacy: of every table that was asked whether it belongs to the clients.
        evidence: the rows of every table.
        through: the table through which each table is owned that has no way of its own.
    """

    placement: Placement
    choices: Mapping[str, Choice] = field(default_factory=dict)
    privacy: Mapping[str, Privacy] = field(default_factory=dict)
    evidence: Mapping[str, TableEvidence] = field(default_factory=dict)
    through: Through = field(default_factory=dict)
