"""From the foreign keys to a placement that the data confirm.

Each round asks the rows of the tables about which something is open, and takes what they say for
the next one, until nothing changes: a table that turns out to follow the clients lets others follow
it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from toolkit.evidence import Sharing, TableEvidence
from toolkit.init.ownership import (
    Choice,
    Decisions,
    Privacy,
    choose,
    of_root,
    on_the_way,
    private,
    ways_of,
)
from toolkit.layout import Layout, decide
from toolkit.placement import (
    ForeignKey,
    Kind,
    Placement,
    Role,
    Statement,
    TablePlacement,
    Through,
    foreign_keys,
    infer,
    table_key,
    with_owner_columns,
)
from toolkit.topology import Region, Topology

#: More rounds than any schema needs: each decides at least one table for good.
_MOST_ROUNDS = 20

#: Of more uses than this, some are looked at first.
_MANY_USES = 500_000
_SOME_USES = 50_000


class Asking(Protocol):
    """Whoever can ask the rows of the source."""

    def table(self, key: str) -> TableEvidence:
        """Count the rows of a table, along each way to a client."""
        ...

    def sharing(self, target: str, keys: Sequence[ForeignKey], first: int | None = None) -> Sharing:
        """Count the rows of a table that one client refers to, and those that several do."""
        ...


@dataclass
class _State:
    """What is known so far; the statements grow from round to round."""

    statements: dict[str, Statement]
    choices: dict[str, Choice] = field(default_factory=dict)
    privacy: dict[str, Privacy] = field(default_factory=dict)
    evidence: dict[str, TableEvidence] = field(default_factory=dict)
    #: What each table looked like when it was asked: it is asked again only where that changed.
    asked: dict[str, object] = field(default_factory=dict)
    shared: dict[str, object] = field(default_factory=dict)


class Survey:
    """Finds the placement of every table of a schema.

    Args:
        metadata: the logical schema.
        bare: its :func:`skeleton`.
        root: key of the root.
        stated: what the operator has decided already; it is not touched, but it is checked.
        default_schema: the schema that table keys leave out.
        topology: the regions.
        reference: tables that the rule of the root leads over: reference data, unless the schema
            says that each row belongs to one client.
        asking: from a layout to whoever can ask the rows of the source.
        progress: called with each table that is asked.
    """

    def __init__(
        self,
        metadata: MetaData,
        bare: MetaData,
        root: str,
        stated: Mapping[str, Statement],
        *,
        default_schema: str,
        topology: Topology,
        reference: Collection[str] = (),
        asking: Callable[[Layout], Asking],
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._full = {table_key(table, default_schema): table for table in metadata.tables.values()}
        self._bare = self._extended = bare
        self._owned: dict[str, Through] = {}
        self._root = root
        self._stated = stated
        self._schema = default_schema
        self._topology = topology
        self._reference = frozenset(reference)
        self._asking = asking
        self._progress = progress
        self._declared = {
            key: foreign_keys(table, default_schema) for key, table in self._full.items()
        }

    def decide(self) -> Decisions:
        """Ask until nothing changes; return what was found."""
        state = _State(dict(self._stated))
        for _ in range(_MOST_ROUNDS):
            placement, metadata = self.placed(state.statements)
            asking = self._asking(self._layout(metadata, placement))
            if self._ask_tables(state, placement, asking):
                continue
            if not self._ask_sharing(state, placement, asking):
                break
        placement, metadata = self.placed(state.statements)
        self._check_stated(state, placement, self._asking(self._layout(metadata, placement)))
        return Decisions(
            placement, state.choices, state.privacy, state.evidence, _through(state.statements)
        )

    def placed(self, statements: Mapping[str, Statement]) -> tuple[Placement, MetaData]:
        """Return the placement, each table with several ways home put on one of them for now."""
        said = self._first_homes(statements)
        owned = {key: one.owned_through for key, one in said.items() if one.owned_through}
        if owned != self._owned:
            self._owned = owned
            self._extended = with_owner_columns(
                self._bare, self._root, said, default_schema=self._schema
            )
        metadata = self._extended
        return infer(metadata, self._root, said, default_schema=self._schema), metadata

    def _first_homes(self, statements: Mapping[str, Statement]) -> dict[str, Statement]:
        """State the first of the shortest ways for every table that has several."""
        said = dict(statements)
        distance = {self._root: 0}
        queue = deque([self._root])
        leading: dict[str, list[ForeignKey]] = {}
        for key, declared in self._declared.items():
            own = said.get(key, Statement())
            if key == self._root or own.kind is Kind.shared:
                continue
            if own.owner is not None:
                leading.setdefault(own.owner[0], []).append(
                    ForeignKey(key, own.owner[1], own.owner[0], (), declared=False)
                )
            elif own.owned_through is not None:
                leading.setdefault(self._root, []).append(
                    ForeignKey(key, (), self._root, (), declared=False)
                )
            else:
                for one in declared:
                    if own.home in (None, one.columns) and one.target != key:
                        leading.setdefault(one.target, []).append(one)
        while queue:
            target = queue.popleft()
            for one in sorted(leading.get(target, ()), key=lambda key: (key.table, key.columns)):
                if one.table in distance:
                    continue
                distance[one.table] = distance[target] + 1
                queue.append(one.table)
        for key, length in distance.items():
            own = said.get(key, Statement())
            if key == self._root or own.home or own.owner or own.owned_through:
                continue
            nearest = [
                one
                for one in self._declared[key]
                if one.target != key and distance.get(one.target) == length - 1
            ]
            if len({one.columns for one in nearest}) > 1:
                said[key] = replace(own, home=min(one.columns for one in nearest))
        return said

    def _layout(self, metadata: MetaData, placement: Placement) -> Layout:
        """Return the layout to ask with: only keys that lead to regional tables are followed."""
        return decide(
            metadata,
            self._topology,
            Placement(
                placement.root,
                {key: _to_ask(placement, one) for key, one in placement.tables.items()},
            ),
            default_schema=self._schema,
        )

    # Homes -----------------------------------------------------------------------------------

    def _ask_tables(self, state: _State, placement: Placement, asking: Asking) -> bool:
        """Ask every table of which the ways have changed; return whether a home has."""
        homes = {key: one.home for key, one in placement.tables.items()}
        through = _through(state.statements)
        changed = False
        for key in placement.tables:
            ways = ways_of(placement, key)
            looks = (
                placement[key].kind,
                placement[key].home_path,
                tuple((way, placement[way.target].home_path) for way in ways),
            )
            if state.asked.get(key) == looks:
                continue
            self._progress(key)
            found = state.evidence[key] = asking.table(key)
            state.asked[key] = looks
            if key == placement.root:
                state.choices[key] = of_root(placement, found)
                continue
            state.choices.pop(key, None)
            if not placement[key].regional:
                continue
            own = self._stated.get(key, Statement())
            fixed = own.home or own.owner or key in through
            choice = choose(
                placement,
                key,
                self._full[key],
                found,
                through,
                placement[key].home if fixed else None,
            )
            home = choice.home
            if home != homes[key] and home and key in on_the_way(homes, home.target, through):
                # Two tables have each become the other's way home: the first one stays so.
                choice = choose(
                    placement, key, self._full[key], found, through, placement[key].home
                )
                home = choice.home
            state.choices[key] = choice
            if home is not None and home != homes[key]:
                homes[key] = home
                said = state.statements.get(key, Statement())
                state.statements[key] = replace(said, home=home.columns)
                changed = True
        return changed

    # Privacy ---------------------------------------------------------------------------------

    def _ask_sharing(self, state: _State, placement: Placement, asking: Asking) -> bool:
        """Ask whose the tables are that regional ones refer to; return whether one has owners."""
        used: dict[str, list[ForeignKey]] = {}
        for key in placement.regional:
            for one, role in placement[key].roles.items():
                if role is Role.plain and one.target != placement.root:
                    used.setdefault(one.target, []).append(one)
        found = False
        for target, keys in sorted(used.items()):
            own = state.statements.get(target, Statement())
            if own.kind is not None:
                continue
            looks = tuple((key, placement[key.table].home_path) for key in keys)
            if state.shared.get(target) == looks:
                continue
            state.shared[target] = looks
            self._progress(target)
            privacy = private(self._sharing(state, asking, target, keys), self._is_own)
            if target in self._reference and not (
                privacy.through and self._is_own(privacy.through)
            ):
                # A region that has one client so far is no private one.
                continue
            state.privacy[target] = privacy
            if privacy.through is not None:
                through = Through(privacy.through.table, privacy.through.columns)
                state.statements[target] = replace(own, owned_through=through)
                self._pin(state, placement, target)
                found = True
        return found

    def _sharing(
        self, state: _State, asking: Asking, target: str, keys: Sequence[ForeignKey]
    ) -> Sharing:
        """Ask who shares a table; of very many uses, a part often tells that it is global."""
        uses = sum(state.evidence[key.table].total for key in keys)
        if uses > _MANY_USES:
            sharing = asking.sharing(target, keys, first=_SOME_USES)
            if sharing.hopeless:
                return sharing
        return asking.sharing(target, keys)

    def _pin(self, state: _State, placement: Placement, target: str) -> None:
        """Keep the ways home of the tables that refer to one that has got a client of its own.

        It is near the root now, and would be the shortest way for tables that it is owned through.
        """
        for key in placement.regional:
            home, said = placement[key].home, state.statements.get(key, Statement())
            if home is None or said.home or said.owner or said.owned_through:
                continue
            if any(one.target == target for one in placement[key].roles):
                state.statements[key] = replace(said, home=home.columns)

    def _check_stated(self, state: _State, placement: Placement, asking: Asking) -> None:
        """Ask whether the tables that the operator says are owned through another are."""
        for key, said in self._stated.items():
            if said.owned_through is None:
                continue
            through = next(
                one
                for one in placement[said.owned_through.table].roles
                if (one.target, one.columns) == (key, said.owned_through.columns)
            )
            sharing = asking.sharing(key, [through])
            state.privacy[key] = Privacy(through, sharing, why="stated in regionkit.toml")

    def _is_own(self, key: ForeignKey) -> bool:
        """Return whether the schema says that a key tells the owner of the row it leads to."""
        table = self._full[key.table]
        linking = {
            column
            for one in self._declared[key.table]
            if one.columns != key.columns
            for column in one.columns
        }
        for columns in _uniques(table):
            if columns <= set(key.columns):
                return True
            if set(key.columns) <= columns <= linking | set(key.columns):
                return True
        return False


def skeleton(metadata: MetaData) -> MetaData:
    """Return a schema with nothing but its columns, primary and foreign keys."""
    bare = MetaData(schema=metadata.schema)
    for table in metadata.tables.values():
        Table(
            table.name,
            bare,
            *(
                Column(column.name, column.type, primary_key=column.primary_key)
                for column in table.columns
            ),
            schema=table.schema,
            info=dict(table.info),
        )
    for table in metadata.tables.values():
        copy = bare.tables[table.key]
        for key in table.foreign_key_constraints:
            target = bare.tables[key.referred_table.key]
            copy.append_constraint(
                ForeignKeyConstraint(
                    [column.name for column in key.columns],
                    [target.columns[element.column.name] for element in key.elements],
                    name=key.name,
                )
            )
    return bare


def bare_layout(bare: MetaData, root: str, default_schema: str) -> Layout:
    """Return a layout in which the root alone is regional: enough to ask the rule.

    Args:
        bare: a :func:`skeleton`.
        root: key of the root.
        default_schema: the schema that table keys leave out.
    """
    tables = [table_key(table, default_schema) for table in bare.tables.values()]
    said = {key: Statement(kind=Kind.shared) for key in tables if key != root}
    placement = infer(bare, root, said, default_schema=default_schema)
    return decide(bare, Topology((Region("unknown"),)), placement, default_schema=default_schema)


def _uniques(table: Table) -> list[frozenset[str]]:
    """Return the columns of each key that no two rows of a table share."""
    found = [
        frozenset(column.name for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
    ]
    found += [
        frozenset(column.name for column in index.columns)
        for index in table.indexes
        if index.unique
        and index.dialect_options["postgresql"].get("where") is None
        and len(index.columns) == len(index.expressions)
    ]
    return [columns for columns in found if columns]


def _to_ask(placement: Placement, placed: TablePlacement) -> TablePlacement:
    roles = {
        key: Role.foreign_reference if role is not Role.home else role
        for key, role in placed.roles.items()
        if placement[key.target].regional
    }
    # RegionQuery finds the rule's hops, and the way to an owner, by the keys of a table.
    others = {key: Role.plain for key in placed.roles if key not in roles}
    kind = Kind.shared if placed.kind is Kind.undecided else placed.kind
    return replace(placed, kind=kind, roles={**roles, **others})


def _through(statements: Mapping[str, Statement]) -> dict[str, str]:
    return {
        key: said.owned_through.table
        for key, said in statements.items()
        if said.owned_through is not None
    }
