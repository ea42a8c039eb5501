"""From what the data say to the lines of ``regionkit.toml``, and to open questions. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Table

from toolkit.evidence import TableEvidence
from toolkit.init.ownership import Choice, Decisions, Privacy, candidates, stays, ways_of
from toolkit.init.proposals import OwnerProposal
from toolkit.init.seen import Decision, Stated
from toolkit.placement import ForeignKey, Kind, Statement, Through

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


# TOML ----------------------------------------------------------------------------------------


def section(table: str) -> str:
    """Return the header of a table's section."""
    return f"[placement.{toml_key(table)}]"


def toml_key(name: str) -> str:
    """Return a key as TOML writes it."""
    return name if _BARE_KEY.fullmatch(name) else toml_string(name)


def toml_string(text: str) -> str:
    """Return a string as TOML writes it: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_columns(columns: Sequence[str]) -> str:
    """Return the columns of one foreign key."""
    if len(columns) == 1:
        return toml_string(columns[0])
    return f"[{', '.join(map(toml_string, columns))}]"


def lines(statement: Statement) -> tuple[str, ...]:
    """Return the lines of a table's section, without its header."""
    found = []
    if statement.kind is not None:
        found.append(f'kind = "{statement.kind.value}"')
    if statement.home is not None:
        found.append(f"home = {toml_columns(statement.home)}")
    if statement.owned_through is not None:
        found.append(f"owned_through = {toml_string(str(statement.owned_through))}")
    if statement.owner is not None:
        found.append(f"owner = {toml_string(str(Through(*statement.owner)))}")
    if statement.same_region:
        found.append(f"same_region = [{', '.join(map(toml_columns, statement.same_region))}]")
    if statement.orphans is not None:
        found.append(f"orphans = {toml_string(statement.orphans)}")
    return tuple(found)


def answer(table: str, statement: Statement) -> tuple[str, ...]:
    """Return a whole section."""
    return (section(table), *lines(statement))


# What is concluded ---------------------------------------------------------------------------


def concluded(
    decisions: Decisions, stated: Mapping[str, Statement], asked: Collection[str] = ()
) -> list[Stated]:
    """Return the statement of every table that needs one and has none yet, with the reason.

    Args:
        decisions: what was found.
        stated: what the operator has stated.
        asked: tables that the operator is asked about.
    """
    found = []
    for key in decisions.placement.tables:
        choice, privacy = decisions.choices.get(key), decisions.privacy.get(key)
        if key in stated or key in asked or (choice is not None and choice.alternatives):
            continue
        home: tuple[str, ...] | None = None
        through: Through | None = None
        same: tuple[tuple[str, ...], ...] = ()
        why: list[str] = []
        if privacy is not None and privacy.through is not None:
            through = Through(privacy.through.table, privacy.through.columns)
            why.append(f"{_rows(privacy.sharing.rows)}: {privacy.why}, and stays with it.")
        if choice is not None:
            same = tuple(dict.fromkeys(way.columns for way in choice.same_region))
            if through is None and choice.home is not None and _several(decisions, key):
                home = choice.home.columns
            why += _reasons(decisions, key, choice, said=home is not None)
        statement = Statement(home=home, owned_through=through, same_region=same)
        if statement != Statement():
            found.append(Stated(key, statement, " ".join(why)))
    return found


def _several(decisions: Decisions, key: str) -> bool:
    """Return whether the foreign keys alone would leave the way home open, or take another one."""
    placement = decisions.placement
    home = placement[key].home
    near = {
        way.columns
        for way in ways_of(placement, key)
        if home is not None
        and way.target != key
        and len(placement[way.target].home_path) <= len(placement[home.target].home_path)
    }
    able = {way.columns for way in candidates(placement, key, decisions.through)}
    return len(able | near) > 1


def _reasons(decisions: Decisions, key: str, choice: Choice, *, said: bool) -> list[str]:
    """Return sentences that say why the ways of a table mean what they do."""
    found = decisions.evidence[key]
    why = []
    if said and choice.home is not None:
        why.append(f"The rows follow {_named(choice.home)}: {choice.why}.")
    for way in choice.same_region:
        rows = found.meeting(choice.home, way).rows
        why.append(f"{_named(way)} leads to the same client in all of {_rows(rows)}.")
    for way in ways_of(decisions.placement, key):
        if way == choice.home or way in choice.same_region:
            continue
        meeting = found.meeting(choice.home, way)
        if said and meeting.clients:
            why.append(
                f"{_named(way)} leads to another client in {meeting.clients:,} of "
                f"{_rows(meeting.rows)}, to another region in {meeting.regions:,}: a foreign "
                "reference."
            )
    return why


def _named(way: ForeignKey) -> str:
    return ", ".join(way.columns)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


# What is open --------------------------------------------------------------------------------


def rivalries(decisions: Decisions, doubtful: Mapping[str, int]) -> list[Decision]:
    """Return the question of every table whose ways lead to different clients with equal right.

    Args:
        decisions: what was found.
        doubtful: what :func:`used_by_others` returns.
    """
    return [
        _rivalry(decisions, key, choice, perhaps_shared=key in doubtful)
        for key, choice in decisions.choices.items()
        if choice.alternatives
    ]


def used_by_others(
    decisions: Decisions, stated: Mapping[str, Statement], tables: Mapping[str, Table]
) -> dict[str, int]:
    """Return the tables that may well be shared, with the rows of other clients that say so.

    Their rows need not have a client by the way that they follow, and most of the rows that refer
    to them belong to another one: a product follows whoever typed it in, and all clients buy it.
    """
    mine: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for key, choice in decisions.choices.items():
        evidence = decisions.evidence[key]
        for way in ways_of(decisions.placement, key):
            if way.target == key:
                continue
            if way == choice.home:
                mine[way.target] += evidence.ways[way].clients if way in evidence.ways else 0
                continue
            meeting = evidence.meeting(choice.home, way)
            others[way.target] += meeting.clients
            mine[way.target] += meeting.rows - meeting.clients
    return {
        key: others[key]
        for key, choice in decisions.choices.items()
        if key not in stated
        and choice.home is not None
        and choice.home.declared
        and others[key] > mine[key]
        and any(tables[key].columns[column].nullable for column in choice.home.columns)
    }


def doubts(decisions: Decisions, doubtful: Mapping[str, int]) -> list[Decision]:
    """Return the question of every table that :func:`used_by_others` returns, but the rivalries."""
    found = []
    for key, rows in doubtful.items():
        choice = decisions.choices[key]
        if choice.alternatives or choice.home is None:
            continue
        same = tuple(dict.fromkeys(way.columns for way in choice.same_region))
        found.append(
            Decision(
                key,
                f"{_named(choice.home)} leads to a client, but most rows that refer to it are of "
                f"others ({_rows(rows)}): do its rows follow that client, or are they shared?",
                (
                    answer(key, Statement(kind=Kind.shared)),
                    answer(key, Statement(home=choice.home.columns, same_region=same)),
                ),
            )
        )
    return found


def _rivalry(decisions: Decisions, key: str, choice: Choice, *, perhaps_shared: bool) -> Decision:
    found = decisions.evidence[key]
    first, *others = choice.alternatives
    meetings = [found.meeting(first, way) for way in others]
    names = " and ".join(_named(way) for way in choice.alternatives)
    if any(meeting.rows for meeting in meetings):
        clients = max(meeting.clients for meeting in meetings)
        regions = max(meeting.regions for meeting in meetings)
        rows = max(meeting.rows for meeting in meetings)
        figures = (
            f"lead to different clients in {clients:,} of {_rows(rows)}, to different regions in "
            f"{regions:,}"
        )
    else:
        figures = "lead to the clients equally well, and no row tells them apart"
    return Decision(
        key,
        f"{names} {figures}: which one do its rows follow? The other becomes a foreign reference",
        tuple(
            answer(
                key,
                Statement(
                    home=way.columns,
                    same_region=tuple(
                        other.columns
                        for other in ways_of(decisions.placement, key)
                        if other != way and stays(found, way, other)
                    ),
                ),
            )
            for way in choice.alternatives
        )
        + ((answer(key, Statement(kind=Kind.shared)),) if perhaps_shared else ()),
    )


def contradictions(
    decisions: Decisions, stated: Mapping[str, Statement], region: str
) -> list[Decision]:
    """Return what the data say against the placement: rows without a client, statements that err.

    Args:
        decisions: what was found.
        stated: what the operator has stated.
        region: one of the regions, as an example.
    """
    found: list[Decision] = []
    for key, choice in decisions.choices.items():
        said, evidence = stated.get(key, Statement()), decisions.evidence[key]
        if choice.home is not None:
            found += _clientless(decisions, key, choice.home, evidence, said, region)
        for way in ways_of(decisions.placement, key):
            crossing = evidence.meeting(choice.home, way).regions
            if way.columns in said.same_region and crossing:
                found.append(
                    Decision(
                        key,
                        f"same_region names {_named(way)}, but it leads to another region in "
                        f"{_rows(crossing)}",
                        todo=f"take it out of same_region in {section(key)}: it is a foreign "
                        "reference",
                    )
                )
            nowhere = evidence.ways[way].nowhere if way in evidence.ways else 0
            if nowhere and way != choice.home:
                found.append(
                    Decision(
                        key,
                        f"{_named(way)} leads to no row of {way.target} in {_rows(nowhere)}",
                        todo="mend these rows; 'regionkit migrate --dry-run' lists them",
                    )
                )
    for key, privacy in decisions.privacy.items():
        found += _stated_privacy(key, privacy, stated.get(key, Statement()), region)
    return found


def _clientless(
    decisions: Decisions,
    key: str,
    home: ForeignKey,
    evidence: TableEvidence,
    said: Statement,
    region: str,
) -> Iterable[Decision]:
    way = evidence.ways.get(home)
    if way is None or said.owned_through is not None:
        return
    empty = evidence.total - way.filled
    privacy = decisions.privacy.get(key)
    if empty and said.orphans is None and (privacy is None or privacy.through is None):
        yield Decision(
            key,
            f"{_rows(empty)} of {evidence.total:,} belong to no client: {_named(home)} is NULL",
            (_with(key, said, decisions, region),),
        )
    if way.nowhere:
        what = "owner" if not home.declared else "its key"
        yield Decision(
            key,
            f"{what}: {_named(home)} leads to no row of {home.target} in {_rows(way.nowhere)}",
            todo="mend these rows, or leave their clients out with 'regionkit migrate "
            "--quarantine'; 'regionkit migrate --dry-run' lists them",
        )


def _with(key: str, said: Statement, decisions: Decisions, region: str) -> tuple[str, ...]:
    """Return the section that places rows without a client, or where the line goes."""
    line = f"orphans = {toml_string(region)}"
    exists = said != Statement() or any(one.table == key for one in concluded(decisions, {}))
    return (f"in {section(key)}", line) if exists else (section(key), line)


def _stated_privacy(key: str, privacy: Privacy, said: Statement, region: str) -> Iterable[Decision]:
    if said.owned_through is None or privacy.through is None:
        return
    use = privacy.sharing.by_key[privacy.through]
    if use.shared:
        yield Decision(
            key,
            f"owned_through {said.owned_through}: {_rows(use.shared)} of "
            f"{privacy.sharing.rows:,} belong to several clients",
            (answer(key, Statement(kind=Kind.shared)),),
        )
    unused = privacy.sharing.rows - use.rows
    if unused and said.orphans is None:
        yield Decision(
            key,
            f"owned_through {said.owned_through}: {_rows(unused)} of {privacy.sharing.rows:,} "
            "belong to no client",
            ((f"in {section(key)}", f"orphans = {toml_string(region)}"),),
        )


# Tables that nothing connects ----------------------------------------------------------------


def unconnected(
    root: str, key: str, proposals: Sequence[OwnerProposal], *, declares: bool
) -> Decision:
    """Return the question whose the rows of a table are that no foreign key connects.

    Args:
        root: key of the root.
        key: of the table.
        proposals: what its columns and data suggest, the likeliest first.
        declares: whether the schema declares any foreign key.
    """
    why = (
        f"no foreign key connects it with {root}"
        if declares
        else "the schema declares no foreign keys"
    )
    suggestion = (
        f"; it could follow {' or '.join(map(str, proposals))}"
        if proposals
        else "; no column of it leads to a client by its name or its values"
    )
    choices = [
        answer(key, Statement(owner=(one.guess.target, (one.guess.column,)))) for one in proposals
    ]
    return Decision(key, f"{why}{suggestion}", (*choices, answer(key, Statement(kind=Kind.shared))))


def isolated(root: str, key: str) -> Stated:
    """Return the statement of a table that nothing connects, and that can belong to nobody."""
    return Stated(
        key,
        Statement(kind=Kind.shared),
        f"No foreign key connects it with {root}, and no column of it leads to a client by its "
        "name or its values: one copy for all.",
    )
