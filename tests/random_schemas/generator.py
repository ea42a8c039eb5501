"""Draws a schema with rows, and knows of every row which rows it refers to.

A schema is a root, tables that follow it by one foreign key each, tables that clients share, and
further foreign keys between all of them: within the client or across, to primary keys and to other
unique columns, in cycles. What belongs where is not written down: it follows from the rows, and
``rows_per_region`` finds it by following the columns that regionkit says it follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.random_schemas.values import KEYS, TYPES, Type

#: Names as people have them, and as nobody should.
_NAMES = (
    *("account", "order", "transaction", "group", "user", "Payment", "card", "line item", "note"),
    *(
        "région",
        "Ünïcode",
        "客户",
        "a.b",
        'qu"ote',
        "per%cent",
        "co:lon",
        "region",
        "x_eu",
        "select",
    ),
    *("address", "visit", "document", "file", "t" * 63, "名" * 21, "back\\slash", "end"),
)
_COLUMNS = (
    *("name", "value", "Kind", "from", "to", "table", "region", "a.b", "größe", "_id", "$x"),
    *("created at", "c" * 63, "payload", "état", "ctid_", "xmin_", 'qu"ote', "%s", "date"),
)
LANDS = {"DE": "eu", "FR": "eu", "US": "na", "日本": "ap"}


@dataclass
class Column:
    """A column; ``more`` is what follows its type."""

    name: str
    type: Type
    nullable: bool = True
    more: str = ""
    generated: bool = False


@dataclass
class Reference:
    """A foreign key."""

    columns: tuple[str, ...]
    target: Table
    target_columns: tuple[str, ...]
    more: str = ""


@dataclass
class Table:
    """A table and its rows: literals by column."""

    schema: str
    name: str
    columns: list[Column] = field(default_factory=list)
    key: tuple[str, ...] = ()
    uniques: list[tuple[str, ...]] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)

    @property
    def sql(self) -> str:
        """The qualified name."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass
class Schema:
    """A source.

    Attributes:
        seed: it follows from.
        default: the PostgreSQL schema of the root.
        tables: all of them; the first is the root.
        path: where the region of a client stands.
        refused: table and column with a value that MongoDB cannot hold; empty for most schemas.
    """

    seed: int
    default: str
    tables: list[Table]
    path: str = "land"
    refused: tuple[str, str] | tuple[()] = ()

    @property
    def root(self) -> Table:
        """The table whose rows are clients."""
        return self.tables[0]

    def key(self, table: Table) -> str:
        """Return what regionkit calls a table."""
        return table.name if table.schema == self.default else f"{table.schema}.{table.name}"

    def region_of(self, row: dict[str, str]) -> str:
        """Return the region of a client."""
        hop, _, last = self.path.rpartition(".")
        if hop:
            (place,) = [one for one in self.root.references if one.columns == (hop,)]
            row = led_to(place, row) or {}
            last = last or "land"
        return LANDS[row[last].strip("'")]

    def leads_home(self, table: Table, *, seen: frozenset[str] = frozenset()) -> bool:
        """Return whether foreign keys lead from a table to the root."""
        if table is self.root:
            return True
        if self.key(table) in seen:
            return False
        return any(
            self.leads_home(one.target, seen=seen | {self.key(table)}) for one in table.references
        )

    def is_isolated(self, table: Table) -> bool:
        """Return whether no foreign key leads from a table, nor to it."""
        return not table.references and not any(
            one.target is table for other in self.tables for one in other.references
        )

    def clients(
        self, table: Table, row: dict[str, str], *, depth: int = 6
    ) -> list[dict[str, str] | None]:
        """Return the clients that a row leads to, by each way that there is."""
        if table is self.root:
            return [row]
        found: list[dict[str, str] | None] = []
        for one in table.references if depth else ():
            led = led_to(one, row)
            if led is None:
                found.append(None)
            elif self.leads_home(one.target):
                found += self.clients(one.target, led, depth=depth - 1)
        return found

    def rows_per_region(
        self,
        table: Table,
        homes: dict[str, tuple[str, ...]],
        through: dict[str, tuple[str, tuple[str, ...]]],
    ) -> Counter[str | None]:
        """Count a table's rows per region.

        Args:
            table: the table.
            homes: for each owned table, by its key, the columns that its rows follow.
            through: for each table whose rows belong to whoever refers to them, that table's key
                and its columns.
        """
        found: Counter[str | None] = Counter()
        for row in table.rows:
            at: Table = table
            here: dict[str, str] | None = row
            while here is not None and at is not self.root:
                if self.key(at) in through:
                    referring, columns = through[self.key(at)]
                    (other,) = [one for one in self.tables if self.key(one) == referring]
                    (reference,) = [one for one in other.references if one.columns == columns]
                    leading = [one for one in other.rows if led_to(reference, one) is here]
                    here, at = leading[0] if leading else None, other
                    continue
                columns = homes[self.key(at)]
                (reference,) = [one for one in at.references if one.columns == columns]
                here, at = led_to(reference, here), reference.target
            found[self.region_of(here) if here is not None else None] += 1
        return found


def led_to(reference: Reference, row: dict[str, str]) -> dict[str, str] | None:
    """Return the row that a row refers to; ``None`` if to none."""
    wanted = [row[column] for column in reference.columns]
    for other in reference.target.rows:
        if [other[column] for column in reference.target_columns] == wanted:
            return other
    return None


def quoted(name: str) -> str:
    """Return an identifier."""
    return '"' + name.replace('"', '""') + '"'


class _Drawing:
    """Draws one schema."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.default = self.random.choice(["shop", "public", "Käse Shop"])
        self.schemas = [self.default] * 5 + (["other"] if self.random.random() < 0.3 else [])
        self.taken: set[tuple[str, str]] = set()
        self.plain = self.random.random() < 0.4

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def schema(self) -> Schema:
        random = self.random
        root = self.table(self.default, "client")
        self.give_key(root)
        shared = [self.shared() for _ in range(random.randint(0, 2))]
        path = self.give_region(root, shared)
        self.give_columns(root)
        for place in shared:
            if self.chance(0.4):
                self.refer(root, place)
        self.fill(root, random.randint(4, 9), {})
        drawn = Schema(self.seed, self.default, [root], path)
        owned: list[Table] = []
        for _ in range(random.randint(1, 5)):
            owned.append(self.owned([root, *owned], shared, root))
        drawn.tables += [*owned, *shared]
        if self.chance(0.3) and owned:
            self.favourite(root, owned)
        if self.chance(0.04):
            drawn.refused = self.spoil(drawn)
        return drawn

    def table(self, schema: str = "", name: str = "") -> Table:
        schema = schema or self.random.choice(self.schemas)
        names = [one for one in _NAMES if not self.plain or (one.isascii() and one.isalpha())]
        while not name or (schema, name) in self.taken:
            name = self.random.choice(names)
            if (schema, name) in self.taken:
                name = f"{name[:20]}_{len(self.taken)}"
        self.taken.add((schema, name))
        return Table(schema, name)

    def column_name(self, table: Table, *wanted: str) -> str:
        taken = {column.name for column in table.columns}
        names = [*wanted, self.random.choice(_COLUMNS) if not self.plain else "value"]
        for name in names:
            name = name.encode()[:63].decode(errors="ignore")
            if name not in taken:
                return name
        return f"column_{len(taken)}"

    def give_key(self, table: Table) -> None:
        if self.chance(0.55):
            type_ = next(one for one in KEYS if one.sql in ("integer", "bigint"))
            more = self.random.choice(
                ["", "", "GENERATED ALWAYS AS IDENTITY", "GENERATED BY DEFAULT AS IDENTITY"]
            )
            table.columns.append(Column(self.column_name(table, "id"), type_, False, more))
            table.key = (table.columns[0].name,)
            return
        columns = []
        for _ in range(self.random.randint(1, 2)):
            name = self.column_name(table, self.random.choice(["id", "code", "number", "Key"]))
            table.columns.append(Column(name, self.random.choice(KEYS), False))
            columns.append(name)
        table.key = tuple(columns)

    def give_columns(self, table: Table) -> None:
        for _ in range(self.random.randint(0, 5)):
            type_ = self.random.choice(TYPES)
            column = Column(self.column_name(table), type_, self.chance(0.7))
            if self.chance(0.1):
                column.more = f"DEFAULT {type_.draw(self.random)}"
            table.columns.append(column)
        if self.chance(0.15):
            name = self.column_name(table, "doubled", "doubled too")
            table.columns.append(
                Column(name, TYPES[1], True, "GENERATED ALWAYS AS (7 * 6) STORED", generated=True)
            )
        if self.chance(0.3):
            keyed = self.random.choice(KEYS)
            column = Column(self.column_name(table, "code", "number"), keyed, self.chance(0.5))
            table.columns.append(column)
            table.uniques.append((column.name,))
        if self.chance(0.2) and table.key:
            table.more.append(f"CHECK ({quoted(table.key[0])} IS NOT NULL)")

    def give_region(self, root: Table, shared: Sequence[Table]) -> str:
        land = next(one for one in TYPES if one.sql == "text")
        if shared and self.chance(0.3):
            place = shared[0]
            place.columns.append(Column("land", land, False))
            for row in place.rows:
                row["land"] = f"'{self.random.choice(list(LANDS))}'"
            if len(place.key) == 1:
                reference = self.refer(root, place, nullable=False)
                return f"{reference.columns[0]}.land"
            place.columns.pop()
        root.columns.append(Column("land", land, False))
        return "land"

    def shared(self) -> Table:
        table = self.table()
        self.give_key(table)
        self.give_columns(table)
        self.fill(table, self.random.randint(2, 5), {})
        return table

    def owned(self, parents: Sequence[Table], shared: Sequence[Table], root: Table) -> Table:
        table = self.table()
        subtype = self.chance(0.1) and len(root.key) == 1
        parent = root if subtype else self.random.choice(parents)
        if subtype:
            source = root.columns[[one.name for one in root.columns].index(root.key[0])]
            table.columns.append(Column("id", source.type, False))
            table.key = ("id",)
            table.references.append(Reference(("id",), root, root.key))
        else:
            if self.chance(0.88):
                self.give_key(table)
            self.refer(table, parent, nullable=False)
        self.give_columns(table)
        more = []
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            target = self.random.choice([*parents, *shared])
            more.append((self.refer(table, target), self.chance(0.5)))
        if self.chance(0.1) and table.key:
            more.append((self.refer(table, table), self.chance(0.5)))
        rows = len(root.rows) if subtype else self.random.randint(0, 14)
        self.fill(table, rows, {id(one): same for one, same in more}, subtype)
        return table

    def refer(self, table: Table, target: Table, *, nullable: bool = True) -> Reference:
        choices = [target.key] if target.key else []
        choices += [
            unique
            for unique in target.uniques
            if all(not one.nullable for one in target.columns if one.name in unique)
        ]
        if not choices:
            target.columns.insert(0, Column(self.column_name(target, "id", "no"), KEYS[1], False))
            name = target.columns[0].name
            for number, row in enumerate(target.rows):
                row[name] = _numbered(KEYS[1], number)
            target.uniques.append((name,))
            choices = [(name,)]
        wanted = self.random.choice(choices)
        types = {one.name: one.type for one in target.columns}
        columns = []
        for name in wanted:
            own = self.column_name(
                table, f"{target.name[:20]}_{name[:20]}", f"{target.name[:18]}_{name[:18]}_2"
            )
            table.columns.append(Column(own, types[name], nullable))
            columns.append(own)
        more = self.random.choice(["", "", "", " DEFERRABLE INITIALLY DEFERRED"])
        if nullable and self.chance(0.2):
            more = " ON DELETE SET NULL" + more
        elif self.chance(0.2):
            more = " ON DELETE CASCADE" + more
        reference = Reference(tuple(columns), target, wanted, more)
        table.references.append(reference)
        return reference

    def fill(
        self, table: Table, count: int, same_client: dict[int, bool], subtype: bool = False
    ) -> None:
        """Draw rows; foreign keys beyond the first one stay within the client where asked."""
        for number in range(count):
            row: dict[str, str] = {}
            for column in table.columns:
                if column.generated:
                    continue
                if column.name == "land" and column.type.sql == "text":
                    row[column.name] = f"'{self.random.choice(list(LANDS))}'"
                elif column.name in table.key or (column.name,) in table.uniques:
                    row[column.name] = _numbered(column.type, len(table.rows))
                elif column.nullable and self.chance(0.2):
                    row[column.name] = "NULL"
                else:
                    row[column.name] = column.type.draw(self.random)
            client: dict[str, str] | None = None
            for place, reference in enumerate(table.references):
                targets = list(reference.target.rows)
                if subtype and place == 0:
                    targets = targets[number : number + 1]
                if id(reference) in same_client and same_client[id(reference)]:
                    targets = [
                        one for one in targets if self.client(reference.target, one) is client
                    ]
                nullable = all(
                    column.nullable for column in table.columns if column.name in reference.columns
                )
                if not targets and not nullable:
                    break
                if not targets or (nullable and self.chance(0.25)):
                    row.update(dict.fromkeys(reference.columns, "NULL"))
                    continue
                led = self.random.choice(targets)
                for own, other in zip(reference.columns, reference.target_columns, strict=True):
                    row[own] = led[other]
                if place == 0:
                    client = self.client(reference.target, led)
            else:
                table.rows.append(row)

    def client(self, table: Table, row: dict[str, str]) -> dict[str, str] | None:
        """Return the client of a row by the first foreign key of each table."""
        if table.name == "client" and table.schema == self.default:
            return row
        if not table.references:
            return None
        led = led_to(table.references[0], row)
        return self.client(table.references[0].target, led) if led is not None else None

    def favourite(self, root: Table, owned: Sequence[Table]) -> None:
        """Let clients refer to one of their own rows: a cycle."""
        target = self.random.choice(owned)
        if not target.key:
            return
        reference = self.refer(root, target)
        for row in root.rows:
            mine = [one for one in target.rows if self.client(target, one) is row]
            led = self.random.choice(mine) if mine else None
            for own, other in zip(reference.columns, reference.target_columns, strict=True):
                row[own] = led[other] if led else "NULL"

    def spoil(self, drawn: Schema) -> tuple[str, str] | tuple[()]:
        """Put one value somewhere that MongoDB cannot hold."""
        places = [
            (table, column)
            for table in drawn.tables
            for column in table.columns
            if column.type.refused
            and table.rows
            and column.name not in table.key
            and not any(column.name in unique for unique in table.uniques)
            and not any(column.name in one.columns for one in table.references)
        ]
        if not places:
            return ()
        table, column = self.random.choice(places)
        self.random.choice(table.rows)[column.name] = self.random.choice(column.type.refused)
        return drawn.key(table), column.name


def _numbered(type_: Type, number: int) -> str:
    assert type_.numbered is not None
    return type_.numbered(number)


def draw(seed: int) -> Schema:
    """Return the schema of a seed."""
    return _Drawing(seed).schema()


def statements(schema: Schema) -> list[str]:
    """Return the SQL that creates and fills a schema."""
    found = [f"CREATE SCHEMA IF NOT EXISTS {quoted(one)}" for one in _schemas(schema)]
    setups = dict.fromkeys(
        column.type.setup.format(schema=quoted(table.schema))
        for table in schema.tables
        for column in table.columns
        if column.type.setup
    )
    found += setups
    for table in schema.tables:
        items = [
            f"{quoted(column.name)} {column.type.sql.format(schema=quoted(table.schema))}"
            f"{'' if column.nullable or column.generated else ' NOT NULL'} {column.more}"
            for column in table.columns
        ]
        if table.key:
            items.append(f"PRIMARY KEY ({_list(table.key)})")
        items += [f"UNIQUE ({_list(unique)})" for unique in table.uniques]
        items += table.more
        found.append(f"CREATE TABLE {table.sql} ({', '.join(items)})")
    for table in schema.tables:
        columns = [column.name for column in table.columns if not column.generated]
        if table.rows:
            rows = ", ".join(
                f"({', '.join(row[column] for column in columns)})" for row in table.rows
            )
            found.append(
                f"INSERT INTO {table.sql} ({_list(columns)}) OVERRIDING SYSTEM VALUE VALUES {rows}"
            )
    for table in schema.tables:
        found += [
            f"ALTER TABLE {table.sql} ADD FOREIGN KEY ({_list(one.columns)}) "
            f"REFERENCES {one.target.sql} ({_list(one.target_columns)}){one.more}"
            for one in table.references
        ]
    return found


def _schemas(schema: Schema) -> list[str]:
    return list(dict.fromkeys(table.schema for table in schema.tables))


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
