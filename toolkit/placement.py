"""Which table belongs where: root, owned, global or undecided. Pure.

A *placement* is inferred from the foreign keys of a ``MetaData`` and from what the operator states
in ``regionkit.toml``. Nothing is guessed: two ways to reach the root that the foreign keys cannot
tell apart, or a table that no foreign key connects, are refused with the statement to add.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.exc import NoReferenceError

from toolkit.errors import Refused, UsageError, sampled
from toolkit.names import NamePool


class Kind(StrEnum):
    """Where the rows of a table live."""

    root = "root"
    owned = "owned"
    shared = "global"
    undecided = "undecided"


class Role(StrEnum):
    """What a foreign key means once rows live in regions."""

    #: The row follows the row it references.
    home = "home"
    #: It references a row of the same client: the row's own region is right for it.
    same_region = "same region"
    #: It may reference a row of another client, and carries a region column of its own.
    foreign_reference = "foreign reference"
    #: It references a table that is not regional.
    plain = "plain"


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key as the placement sees it.

    Attributes:
        table: key of the referencing table.
        columns: the referencing columns.
        target: key of the referenced table.
        target_columns: the referenced columns, in the order of ``columns``.
        name: the constraint's name, ``None`` where it has none.
        declared: false for a reference that only ``regionkit.toml`` states.
    """

    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    name: str | None = None
    declared: bool = True

    def __str__(self) -> str:
        return f"{self.table}({', '.join(self.columns)}) -> {self.target}"


#: The key of ``Column.info`` under which a generated column says whose client it holds.
OWNER = "regionkit_owner"


@dataclass(frozen=True)
class Through:
    """The other way to own a row: by the rows that refer to it.

    Attributes:
        table: key of the table whose rows tell the client.
        columns: its foreign key that leads to the owned table.
    """

    table: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.table} via {', '.join(self.columns)}"


@dataclass(frozen=True)
class Statement:
    """What the operator says of one table in ``[placement.<table>]``.

    Attributes:
        kind: ``global`` or ``owned``; ``None`` leaves it to the foreign keys.
        home: columns of the foreign key that the rows follow.
        same_region: columns of further foreign keys that stay within the client.
        owner: a home path that the schema does not declare: table, referencing columns.
        owner_key: the columns of that table that they lead to; empty for its primary key.
        owned_through: a table whose rows tell the client, and its foreign key that leads here.
        orphans: the region for rows whose home path is NULL, and for what follows them; ``None``
            refuses such rows.
    """

    kind: Kind | None = None
    home: tuple[str, ...] | None = None
    same_region: tuple[tuple[str, ...], ...] = ()
    owner: tuple[str, tuple[str, ...]] | None = None
    owner_key: tuple[str, ...] = ()
    owned_through: Through | None = None
    orphans: str | None = None


@dataclass(frozen=True)
class TablePlacement:
    """The placement of one table.

    Attributes:
        table: its key.
        kind: root, owned, global or undecided.
        home: the foreign key that the rows follow; ``None`` unless owned.
        home_path: the foreign keys from this table up to the root.
        roles: what each foreign key of the table means.
        orphans: the region for rows whose home path is NULL.
        reason: why, in words for the operator.
    """

    table: str
    kind: Kind
    home: ForeignKey | None = None
    home_path: tuple[ForeignKey, ...] = ()
    roles: Mapping[ForeignKey, Role] = field(default_factory=dict)
    orphans: str | None = None
    reason: str = ""

    @property
    def regional(self) -> bool:
        """Whether the rows live in regions."""
        return self.kind in (Kind.root, Kind.owned)

    @property
    def foreign_references(self) -> tuple[ForeignKey, ...]:
        """The foreign keys that carry a region column of their own."""
        return tuple(key for key, role in self.roles.items() if role is Role.foreign_reference)


@dataclass(frozen=True)
class Placement:
    """The placement of every table of a schema, parents before the tables that follow them."""

    root: str
    tables: Mapping[str, TablePlacement]

    def __getitem__(self, table: str) -> TablePlacement:
        return self.tables[table]

    def of_kind(self, *kinds: Kind) -> tuple[str, ...]:
        """Return the keys of the tables of these kinds."""
        return tuple(key for key, placed in self.tables.items() if placed.kind in kinds)

    @property
    def regional(self) -> tuple[str, ...]:
        """The keys of the root and of every owned table."""
        return self.of_kind(Kind.root, Kind.owned)


def table_key(table: Table, default_schema: str | None) -> str:
    """Return a table's name in ``regionkit.toml``: without its schema if it is the default."""
    return key_of(table.schema, table.name, default_schema)


def key_of(schema: str | None, name: str, default_schema: str | None) -> str:
    """Return the key of a table of this schema and name."""
    return name if schema in (None, default_schema) else f"{schema}.{name}"


def foreign_keys(table: Table, default_schema: str | None) -> tuple[ForeignKey, ...]:
    """Return the declared foreign keys of ``table``, ordered by their columns."""
    found = [
        _foreign_key(table, constraint, default_schema)
        for constraint in table.foreign_key_constraints
    ]
    return tuple(sorted(found, key=lambda key: (key.columns, key.target, key.target_columns)))


def _foreign_key(
    table: Table, constraint: ForeignKeyConstraint, default_schema: str | None
) -> ForeignKey:
    return ForeignKey(
        table=table_key(table, default_schema),
        columns=tuple(column.name for column in constraint.columns),
        target=table_key(constraint.referred_table, default_schema),
        target_columns=tuple(element.column.name for element in constraint.elements),
        name=constraint.name if isinstance(constraint.name, str) else None,
    )


def owner_columns(table: Table) -> tuple[Column[Any], ...]:
    """Return the generated columns of a table that hold its client's key; empty for most tables."""
    return tuple(column for column in table.columns if OWNER in column.info)


def with_owner_columns(
    metadata: MetaData,
    root: str,
    statements: Mapping[str, Statement] | None = None,
    *,
    default_schema: str | None = None,
) -> MetaData:
    """Return the schema with a column for the client in each table that is owned through another.

    Args:
        metadata: the logical schema; it is not changed.
        root: key of the root.
        statements: the operator's decisions by table key.
        default_schema: the schema that table keys leave out.

    Raises:
        UsageError: a table that is named does not exist, or has no such foreign key.
    """
    owned = {
        name: said.owned_through
        for name, said in (statements or {}).items()
        if said.owned_through is not None
    }
    if not owned:
        return metadata
    tables = {table_key(table, default_schema): table for table in metadata.tables.values()}
    _check_known(tables, [root, *owned, *(through.table for through in owned.values())])
    extended = MetaData(schema=metadata.schema)
    for table in metadata.tables.values():
        copy = table.to_metadata(extended)
        copy.info.update(table.info)
        for column in table.columns:
            # SQLAlchemy takes the types of a copy for types of the copy's own schema.
            copy.columns[column.name].type = column.type
    for name, through in owned.items():
        own = _declared_keys(tables[through.table], default_schema)
        if not any(key.target == name and key.columns == through.columns for key in own):
            raise UsageError(
                f"owned_through of [placement.{name}] names {through}, which is no foreign key "
                f"to {name!r}",
                details=[str(key) for key in own],
                hint='write owned_through = "<table> via <column>[, <column>]"',
            )
        table = extended.tables[tables[name].key]
        taken = NamePool(column.name for column in table.columns)
        for column in tables[root].primary_key.columns:
            own_name = f"{tables[root].name}_{column.name}"
            table.append_column(
                Column(
                    taken.claim(own_name if column.name == "id" else column.name, own_name),
                    column.type,
                    comment=f"The client that the row belongs to, by {through}. Kept by regionkit.",
                    info={OWNER: through},
                )
            )
    return extended


def infer(
    metadata: MetaData,
    root: str,
    statements: Mapping[str, Statement] | None = None,
    *,
    default_schema: str | None = None,
) -> Placement:
    """Place every table of ``metadata``.

    A table with a path of foreign keys to the root is owned, and follows the shortest one. A table
    without such a path that the foreign keys connect with the root is global. Everything else is
    undecided until the operator states it.

    Args:
        metadata: the logical, single-region schema, as :func:`with_owner_columns` returns it.
        root: key of the table whose rows are clients.
        statements: the operator's decisions by table key.
        default_schema: the schema that table keys leave out.

    Raises:
        UsageError: a table or column that is named does not exist, the root has no key, or two
            statements of the operator contradict each other.
        Refused: several foreign keys reach the root equally well, and nothing says which to follow.
    """
    statements = statements or {}
    tables = {table_key(table, default_schema): table for table in metadata.tables.values()}
    _check_known(tables, [root, *statements])
    _check_names(tables)
    _check_statements(root, statements)
    if not list(tables[root].primary_key.columns):
        raise UsageError(
            f"the root table {root!r} has no primary key",
            hint="name a table whose rows are identified by a key in [root] table",
        )
    keys = {
        name: (
            *_declared_keys(table, default_schema),
            *_stated_keys(name, root, tables, statements),
        )
        for name, table in tables.items()
    }
    distance = _distances(root, keys, statements)
    connected = _connected(root, keys)

    placed: dict[str, TablePlacement] = {}
    ambiguous: list[str] = []
    for name in sorted(tables, key=lambda name: (distance.get(name, len(tables)), name)):
        statement = statements.get(name, Statement())
        if name == root:
            placed[name] = TablePlacement(
                name,
                Kind.root,
                roles=_roles(name, None, keys[name], distance, statement),
                reason="its rows are the clients",
            )
        elif name in distance:
            home, problem = _home(name, keys[name], distance, statement)
            if home is None:
                ambiguous.append(problem)
                continue
            if home.target not in placed:
                continue  # Its home path goes through a table that is ambiguous itself.
            path = (home, *placed[home.target].home_path)
            reason = f"follows {' -> '.join(key.target for key in path)} by "
            placed[name] = TablePlacement(
                name,
                Kind.owned,
                home,
                path,
                roles=_roles(name, home, keys[name], distance, statement),
                orphans=statement.orphans,
                reason=reason + str(statement.owned_through or ", ".join(home.columns)),
            )
        elif statement.home is not None:
            raise UsageError(
                f"home of [placement.{name}] names {', '.join(statement.home)}, which is not a "
                f"foreign key towards {root!r}",
                details=[str(key) for key in keys[name]],
                hint="name the columns of one of these foreign keys",
            )
        elif statement.owner is not None:
            raise UsageError(
                f"owner of [placement.{name}] is wrong: {statement.owner[0]!r} does not lead to "
                f"{root!r}",
                hint=f"name {root!r}, or a table that follows it by its own foreign keys",
            )
        elif statement.kind is Kind.owned:
            raise UsageError(
                f"[placement.{name}] says owned, but no foreign key of {name!r} leads to {root!r}",
                hint=f'state it: owner = "<table> via <column>" in [placement.{name}]',
            )
        else:
            if statement.kind is Kind.shared:
                kind, reason = Kind.shared, "stated in regionkit.toml"
            elif name in connected:
                kind, reason = Kind.shared, "connected by foreign keys, without a path to the root"
            else:
                kind, reason = Kind.undecided, "no foreign key connects it with the root"
            placed[name] = TablePlacement(
                name,
                kind,
                roles=_roles(name, None, keys[name], distance, statement),
                reason=reason,
            )
    if ambiguous:
        raise Refused(
            f"{len(ambiguous)} table(s) can follow the root {root!r} by several foreign keys",
            details=ambiguous,
            hint="state home = [columns] in [placement.<table>] of regionkit.toml",
        )
    _check_through(placed, statements)
    return Placement(root, placed)


def _check_through(
    placed: Mapping[str, TablePlacement], statements: Mapping[str, Statement]
) -> None:
    """Refuse a table that would own its rows through rows that follow it."""

    def leads_to(name: str, key: str, seen: frozenset[str]) -> bool:
        """Return whether the client of ``name``'s rows is found by way of ``key``."""
        on_the_way = [name, *(hop.target for hop in placed[name].home_path)]
        if key in on_the_way:
            return True
        through = [
            said.owned_through.table
            for one in on_the_way
            if (said := statements.get(one)) is not None and said.owned_through is not None
        ]
        return any(leads_to(one, key, seen | {one}) for one in through if one not in seen)

    for name, said in statements.items():
        if said.owned_through is None:
            continue
        through = said.owned_through.table
        if not placed[through].regional or leads_to(through, name, frozenset({through})):
            raise UsageError(
                f"owned_through of [placement.{name}] is wrong: the rows of {through!r} have no "
                f"client of their own without {name!r}",
                hint="name a table that follows the root by its own foreign keys",
            )


def _check_known(tables: Mapping[str, Table], names: Iterable[str]) -> None:
    unknown = sorted({name for name in names if name not in tables})
    if not unknown:
        return
    details = []
    for name in unknown:
        near = get_close_matches(name, tables, n=3)
        details.append(f"{name!r}" + (f" (near: {', '.join(near)})" if near else ""))
    raise UsageError(
        f"{len(unknown)} table(s) named in regionkit.toml do not exist in the schema",
        details=details,
        hint="correct [root] table or the name of the [placement] table",
    )


def _check_names(tables: Mapping[str, Table]) -> None:
    renamed = [
        f"{name}.{column.name} (key {column.key!r})"
        for name, table in tables.items()
        for column in table.columns
        if column.key != column.name
    ]
    if renamed:
        raise UsageError(
            f"{len(renamed)} column(s) of the model have a key that is not their name",
            details=sampled(renamed),
            hint="leave key= out of the Column; an ORM attribute may have another name without it",
        )


def _check_statements(root: str, statements: Mapping[str, Statement]) -> None:
    for name, said in statements.items():
        follows = [
            option
            for option in ("home", "owner", "owned_through", "orphans")
            if getattr(said, option) is not None
        ]
        if said.owned_through is not None and (said.owner or said.home):
            raise UsageError(
                f"[placement.{name}] says owned_through, and also {follows[0]}",
                hint="leave out one of the two: a table follows its client in one way",
            )
        if name == root and (follows or said.kind is not None):
            raise UsageError(
                f"[placement.{name}] states {', '.join(follows) or 'kind'}, but {name!r} is the "
                "root, which follows no other table",
                hint="of the root, only same_region can be stated",
            )
        if said.kind is Kind.shared and (follows or said.same_region):
            raise UsageError(
                f"[placement.{name}] says global, and also {', '.join(follows) or 'same_region'}, "
                "which only an owned table can have",
                hint='leave out one of the two: kind = "global" or the other key',
            )


def _declared_keys(table: Table, default_schema: str | None) -> tuple[ForeignKey, ...]:
    try:
        return foreign_keys(table, default_schema)
    except NoReferenceError as error:
        raise UsageError(
            f"a foreign key of {table_key(table, default_schema)!r} references what the schema "
            f"does not hold: {error}",
            hint="add the referenced table to the MetaData, or take the foreign key out",
        ) from None


def _stated_keys(
    name: str, root: str, tables: Mapping[str, Table], statements: Mapping[str, Statement]
) -> tuple[ForeignKey, ...]:
    statement = statements.get(name)
    if statement is None:
        return ()
    if statement.owned_through is not None:
        columns = tuple(column.name for column in owner_columns(tables[name]))
        key = tuple(column.name for column in tables[root].primary_key.columns)
        if not columns:
            raise ValueError("the metadata lacks what with_owner_columns() adds")
        return (ForeignKey(name, columns, root, key, declared=False),)
    if statement.owner is None:
        return ()
    target, columns = statement.owner
    _check_known(tables, [target])
    target_columns = statement.owner_key or tuple(
        column.name for column in tables[target].primary_key.columns
    )
    problem = _owner_problem(tables[name], columns, tables[target], target, target_columns)
    if problem:
        raise UsageError(
            f"owner of [placement.{name}] is wrong: {problem}",
            hint='write owner = "<table> via <column>[, <column>]", or where the columns do not '
            'lead to its primary key, "<table>(<column>) via <column>"',
        )
    return (ForeignKey(name, columns, target, target_columns, declared=False),)


def _owner_problem(
    table: Table,
    columns: Sequence[str],
    target: Table,
    target_key: str,
    target_columns: Sequence[str],
) -> str:
    for name, asked, of in ((table.name, columns, table), (target_key, target_columns, target)):
        unknown = [column for column in asked if column not in of.columns]
        if unknown:
            return f"column {unknown[0]!r} does not exist in {name!r}"
    if len(columns) != len(target_columns):
        return f"{target_key!r} has {len(target_columns)} key column(s), not {len(columns)}"
    if set(target_columns) not in _unique_column_sets(target):
        return f"{', '.join(target_columns)} of {target_key!r} is not unique"
    return ""


def _unique_column_sets(table: Table) -> list[set[str]]:
    """Return the column sets that a key, a constraint or a whole index keeps unique."""
    found = [
        {column.name for column in constraint.columns}
        for constraint in table.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
    ]
    for index in table.indexes:
        where = index.dialect_options["postgresql"].get("where")
        plain = all(isinstance(part, Column) for part in index.expressions)
        if index.unique and where is None and plain:
            found.append({column.name for column in index.columns})
    return found


def _distances(
    root: str, keys: Mapping[str, Sequence[ForeignKey]], statements: Mapping[str, Statement]
) -> dict[str, int]:
    """Return the length of the path to the root for every table that has one.

    A table whose home or owner is stated is reached by that key only, so that the paths stay free
    of cycles whatever the operator states.
    """
    referencing: dict[str, list[str]] = {}
    for name, own in keys.items():
        statement = statements.get(name, Statement())
        if name == root or statement.kind is Kind.shared:
            continue
        for key in own:
            if (statement.owner or statement.owned_through) and key.declared:
                continue
            if statement.home is None or key.columns == statement.home:
                referencing.setdefault(key.target, []).append(name)
    distance = {root: 0}
    queue = deque([root])
    while queue:
        current = queue.popleft()
        for name in sorted(referencing.get(current, [])):
            if name not in distance:
                distance[name] = distance[current] + 1
                queue.append(name)
    return distance


def _connected(root: str, keys: Mapping[str, Sequence[ForeignKey]]) -> set[str]:
    """Return the tables that foreign keys connect with the root, in either direction."""
    neighbours: dict[str, set[str]] = {name: set() for name in keys}
    for name, own in keys.items():
        for key in own:
            neighbours[name].add(key.target)
            neighbours[key.target].add(name)
    seen = {root}
    queue = deque([root])
    while queue:
        for name in neighbours[queue.popleft()] - seen:
            seen.add(name)
            queue.append(name)
    return seen


def _home(
    name: str, keys: Sequence[ForeignKey], distance: Mapping[str, int], statement: Statement
) -> tuple[ForeignKey | None, str]:
    """Return the foreign key to follow, or ``None`` and what is ambiguous."""
    upward = [
        key
        for key in keys
        if distance.get(key.target, distance[name]) < distance[name]
        and statement.home in (None, key.columns)
    ]
    stated = [key for key in upward if not key.declared]
    nearest = min(distance[key.target] for key in upward)
    best = stated or [key for key in upward if distance[key.target] == nearest]
    best = [key for key in best if key.columns not in statement.same_region] or best
    if len({key.columns for key in best}) == 1:
        # The same columns may reference several tables, or one twice: nothing else can be said.
        return best[0], ""
    return None, f"{name}: " + " or ".join(", ".join(key.columns) for key in best)


def _roles(
    name: str,
    home: ForeignKey | None,
    keys: Sequence[ForeignKey],
    distance: Mapping[str, int],
    statement: Statement,
) -> dict[ForeignKey, Role]:
    known = {key.columns for key in keys}
    wrong = [columns for columns in statement.same_region if columns not in known]
    if wrong:
        raise UsageError(
            f"same_region of [placement.{name}] names {', '.join(wrong[0])}, "
            "which is not a foreign key",
            details=[str(key) for key in keys],
            hint="name the columns of one of these foreign keys",
        )
    roles: dict[ForeignKey, Role] = {}
    twins = home and (home.columns, home.target, home.target_columns)
    for key in keys:
        if key == home:
            roles[key] = Role.home
        elif key.target not in distance:
            roles[key] = Role.plain
        elif key.columns in statement.same_region or twins == (
            key.columns,
            key.target,
            key.target_columns,
        ):
            roles[key] = Role.same_region
        else:
            roles[key] = Role.foreign_reference
    return roles
