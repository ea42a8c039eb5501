"""A logical schema as the Python source of ``schema.py``. Pure.

What :func:`render` writes reads like a model that a person wrote, and running it gives an equal
``MetaData``. Names in the source are those of the database, wherever Python allows.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import Constraint
from sqlalchemy.sql import operators
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import ClauseElement, TextClause, UnaryExpression
from sqlalchemy.types import TypeEngine

from toolkit.names import NamePool
from toolkit.placement import table_key
from toolkit.postgres import ddl
from toolkit.types import Composite, CustomRange, PostgresNamed

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]

_WIDTH = 100

#: Names that the file itself uses.
_TAKEN = ("sa", "postgresql", "metadata", "Composite", "CustomRange", "PostgresNamed")

_METHODS = {
    operators.desc_op: "desc",
    operators.asc_op: "asc",
    operators.nulls_first_op: "nulls_first",
    operators.nulls_last_op: "nulls_last",
}

#: Types whose arguments are clear without their names.
_POSITIONAL = {
    sa.String: ("length",),
    sa.CHAR: ("length",),
    sa.Numeric: ("precision", "scale"),
}

_Defined = postgresql.ENUM | postgresql.DOMAIN | Composite | CustomRange


def render(metadata: MetaData) -> str:
    """Return the Python source of a module whose ``metadata`` equals ``metadata``.

    Tables stand below those that they reference, where there is no cycle; otherwise, and for types,
    the order is that of their names.
    """
    return _Renderer(metadata).render()


class _Renderer:
    """Writes one module; holds the variables that stand for types and tables."""

    def __init__(self, metadata: MetaData) -> None:
        self._metadata = metadata
        self._tables = _parents_first(metadata)
        pool = NamePool(_TAKEN)
        self._variables = {
            table.key: _variable(pool, table_key(table, metadata.schema)) for table in self._tables
        }
        self._types: dict[tuple[str | None, str], str] = {}
        self._definitions: list[str] = []
        self._pool = pool

    def render(self) -> str:
        """Return the module's source."""
        # The tables first, because they say which types there are.
        tables = [self._table(table) for table in self._tables]
        keys = [
            call(f"{self._variables[table.key]}.append_constraint", [self._foreign_key(key)])
            for table in self._tables
            for key in _sorted(table.foreign_key_constraints)
            if _dotted(key)
        ]
        schema = [f"schema={literal(self._metadata.schema)}"] if self._metadata.schema else []
        body = "\n\n".join(
            [
                call("sa.MetaData", schema, before="metadata = "),
                *self._definitions,
                *tables,
                *(["\n".join(keys)] if keys else []),
            ]
        )
        return f"{self._head(body)}\n\n{body}\n"

    def _head(self, body: str) -> str:
        toolkit = [
            name
            for name in ("Composite", "CustomRange", "PostgresNamed")
            if re.search(rf"(?<![\w.\"']){name}\(", body)
        ]
        lines = [
            '"""The logical schema of the source, for regionkit."""',
            "",
            "import sqlalchemy as sa",
        ]
        if "postgresql." in body:
            lines.append("from sqlalchemy.dialects import postgresql")
        if toolkit:
            lines += ["", f"from toolkit.types import {', '.join(toolkit)}"]
        return "\n".join(lines)

    # Tables ---------------------------------------------------------------------------------

    def _table(self, table: Table) -> str:
        variable = self._variables[table.key]
        arguments = [literal(table.name), "metadata"]
        arguments += [self._column(column) for column in table.columns]
        arguments += [
            self._constraint(constraint)
            for constraint in _sorted(table.constraints)
            if not (isinstance(constraint, sa.ForeignKeyConstraint) and _dotted(constraint))
            and not getattr(constraint, "_type_bound", False)
            and not (isinstance(constraint, sa.PrimaryKeyConstraint) and not constraint.columns)
        ]
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        arguments += [self._index(index, table=None) for index in indexes if not _has_order(index)]
        if table.schema != self._metadata.schema:
            arguments.append(f"schema={literal(table.schema)}")
        if table.comment is not None:
            arguments.append(f"comment={literal(table.comment)}")
        if table.info:
            arguments.append(f"info={literal(dict(table.info))}")
        if table._prefixes:
            arguments.append(f"prefixes={literal(list(table._prefixes))}")
        arguments += [f"{name}={literal(value)}" for name, value in _options(table)]
        text = call("sa.Table", arguments, before=f"{variable} = ", broken=True)
        ordered = [self._index(index, table=variable) for index in indexes if _has_order(index)]
        return "\n".join([text, *ordered])

    def _column(self, column: Column[Any]) -> str:
        arguments = [literal(column.name), self._type(column.type)]
        default = column.server_default
        if column.identity is not None:
            arguments.append(_identity(column.identity))
        elif isinstance(default, sa.Computed):
            arguments.append(
                call(
                    "sa.Computed",
                    [literal(_sql(default.sqltext)), f"persisted={default.persisted!r}"],
                )
            )
        if not column.nullable and not column.primary_key and column.identity is None:
            arguments.append("nullable=False")
        elif column.nullable and column.identity is not None:
            arguments.append("nullable=True")
        if isinstance(default, sa.DefaultClause):
            value = default.arg
            written = literal(value) if isinstance(value, str) else _text(value)
            arguments.append(f"server_default={written}")
        if column.autoincrement is False:
            arguments.append("autoincrement=False")
        if column.info:
            arguments.append(f"info={literal(dict(column.info))}")
        if column.comment is not None:
            arguments.append(f"comment={literal(column.comment)}")
        return call("sa.Column", arguments)

    # Constraints and indexes ----------------------------------------------------------------

    def _constraint(self, constraint: Constraint) -> str:
        if isinstance(constraint, sa.ForeignKeyConstraint):
            return self._foreign_key(constraint)
        if isinstance(constraint, postgresql.ExcludeConstraint):
            return self._exclusion(constraint)
        if isinstance(constraint, sa.CheckConstraint):
            return call(
                "sa.CheckConstraint", [literal(_sql(constraint.sqltext)), *_common(constraint)]
            )
        assert isinstance(constraint, sa.PrimaryKeyConstraint | sa.UniqueConstraint)
        kind = type(constraint).__name__
        columns = [literal(column.name) for column in constraint.columns]
        return call(f"sa.{kind}", [*columns, *_common(constraint)])

    def _foreign_key(self, key: sa.ForeignKeyConstraint) -> str:
        if _dotted(key):
            # SQLAlchemy takes a name in one string apart at its dots.
            variable = self._variables[key.referred_table.key]
            targets = [_item(variable, element.column.name) for element in key.elements]
        else:
            targets = [literal(element.target_fullname) for element in key.elements]
        arguments = [
            f"[{', '.join(literal(column.name) for column in key.columns)}]",
            f"[{', '.join(targets)}]",
        ]
        for option in ("onupdate", "ondelete", "match"):
            if (value := getattr(key, option)) is not None:
                arguments.append(f"{option}={literal(value)}")
        return call("sa.ForeignKeyConstraint", [*arguments, *_common(key)])

    def _exclusion(self, constraint: postgresql.ExcludeConstraint) -> str:
        elements = []
        for expression, _, operator in constraint._render_exprs:
            part = literal(expression.name) if isinstance(expression, Column) else _text(expression)
            elements.append(f"({part}, {literal(operator)})")
        options = [f"using={literal(constraint.using)}"] if constraint.using != "gist" else []
        if constraint.where is not None:
            options.append(f"where={_text(constraint.where)}")
        if constraint.ops:
            options.append(f"ops={literal(dict(constraint.ops))}")
        return call("postgresql.ExcludeConstraint", [*elements, *options, *_common(constraint)])

    def _index(self, index: sa.Index, *, table: str | None) -> str:
        parts = []
        for part in index.expressions:
            methods: list[str] = []
            while isinstance(part, UnaryExpression) and part.modifier in _METHODS:
                methods.insert(0, f".{_METHODS[part.modifier]}()")
                part = part.element
            if not isinstance(part, Column):
                parts.append(_text(part))
            elif table is None:
                parts.append(literal(part.name))
            else:
                parts.append(_item(table, part.name) + "".join(methods))
        options = ["unique=True"] if index.unique else []
        return call("sa.Index", [literal(index.name), *parts, *options, *_common(index)])

    # Types ----------------------------------------------------------------------------------

    def _type(self, type_: TypeEngine[Any]) -> str:
        if isinstance(type_, postgresql.ARRAY):
            arguments = [self._type(type_.item_type)]
            if type_.dimensions is not None:
                arguments.append(f"dimensions={type_.dimensions}")
            return call("postgresql.ARRAY", arguments)
        if isinstance(type_, _Defined):
            return self._defined(type_)
        if isinstance(type_, PostgresNamed):
            return call("PostgresNamed", [literal(type_.name)])
        return _plain_type(type_)

    def _defined(self, type_: _Defined) -> str:
        """Return the variable of a type that the schema defines; define it where it is new."""
        key = (type_.schema, str(type_.name))
        if key in self._types:
            return self._types[key]
        schema = [f"schema={literal(type_.schema)}"] if type_.schema is not None else []
        if isinstance(type_, postgresql.ENUM):
            name = "postgresql.ENUM"
            arguments = [
                *map(literal, type_.enums),
                f"name={literal(type_.name)}",
                *schema,
                "create_type=False",
            ]
        elif isinstance(type_, postgresql.DOMAIN):
            name = "postgresql.DOMAIN"
            arguments = [
                literal(type_.name),
                self._type(type_.data_type),
                *schema,
                "create_type=False",
            ]
        elif isinstance(type_, Composite):
            name = "Composite"
            fields = [f"({literal(field)}, {self._type(of)})" for field, of in type_.fields]
            arguments = [literal(type_.name), *fields, *schema]
        else:
            name = "CustomRange"
            multi = ["multi=True"] if type_.multi else []
            arguments = [literal(type_.name), self._type(type_.subtype), *schema, *multi]
        qualified = type_.schema != self._metadata.schema and type_.schema is not None
        variable = _variable(
            self._pool, f"{type_.schema}.{type_.name}" if qualified else str(type_.name), "type"
        )
        self._types[key] = variable
        self._definitions.append(call(name, arguments, before=f"{variable} = "))
        return variable


# Expressions of Python ------------------------------------------------------------------------


def literal(value: object) -> str:
    """Return a value as Python source, strings in double quotes where nothing speaks against it."""
    if isinstance(value, str):
        text = repr(str(value))
        if text.startswith("'") and '"' not in text:
            text = '"' + text[1:-1].replace("\\'", "'") + '"'
        return text
    if isinstance(value, dict):
        items = [f"{literal(name)}: {literal(one)}" for name, one in value.items()]
        if sum(len(item) + 2 for item in items) < _WIDTH - 40:
            return "{" + ", ".join(items) + "}"
        return "{\n" + "".join(f"    {item},\n" for item in items) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def call(function: str, arguments: Sequence[str], *, before: str = "", broken: bool = False) -> str:
    """Return a call on one line, or with one argument per line where it would be too long.

    Args:
        function: what is called.
        arguments: as source.
        before: what stands before the call on its first line.
        broken: one argument per line in any case.
    """
    function = before + function
    line = f"{function}({', '.join(arguments)})"
    # Four for the indentation within a table, one for the comma.
    if not broken and len(line) <= _WIDTH - 5 and "\n" not in line:
        return line
    items = "".join(f"    {_indented(argument)},\n" for argument in arguments)
    return f"{function}(\n{items})"


def _indented(text: str) -> str:
    # No string of the source spans lines: literal() writes \n for a line's end.
    return text.replace("\n", "\n    ")


def _item(table: str, column: str) -> str:
    if (
        column.isidentifier()
        and not keyword.iskeyword(column)
        # Python reads identifiers in this form, whatever the file says.
        and unicodedata.normalize("NFKC", column) == column
        and not column.startswith("_")
        and not hasattr(ReadOnlyColumnCollection, column)
    ):
        return f"{table}.c.{column}"
    return f"{table}.c[{literal(column)}]"


def _variable(pool: NamePool, name: str, kind: str = "table") -> str:
    """Return a free variable like a name of the database."""
    # Python takes identifiers that look alike for the same one.
    word = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", name)).strip("_")
    if not word.isidentifier() or keyword.iskeyword(word) or keyword.issoftkeyword(word):
        word = f"{kind}_{word}".rstrip("_")
    return pool.claim(word, f"{word}_{kind}")


def _text(clause: Any) -> str:
    return f"sa.text({literal(_sql(clause))})"


def _sql(clause: ClauseElement | str) -> str:
    """Return what ``text()`` takes to make the same SQL."""
    if isinstance(clause, str):
        return clause
    if isinstance(clause, TextClause) and not clause._bindparams:
        return clause.text
    return ddl.escape_binds(
        str(
            clause.compile(
                dialect=_DIALECT, compile_kwargs={"literal_binds": True, "include_table": False}
            )
        )
    )


def _identity(identity: sa.Identity) -> str:
    arguments = [f"always={bool(identity.always)}"]
    for option in ("start", "increment", "minvalue", "maxvalue", "cycle", "cache"):
        if (value := getattr(identity, option)) is not None:
            arguments.append(f"{option}={value!r}")
    return call("sa.Identity", arguments)


def _plain_type(type_: TypeEngine[Any]) -> str:
    """Return a type that has no parts, as ``sa.String(50)``."""
    module = type(type_).__module__
    prefix = "postgresql" if "dialects.postgresql" in module else "sa"
    name = f"{prefix}.{type(type_).__name__}"
    if isinstance(type_, sa.JSON):
        return name
    text = re.sub(r"'([^'\"\\]*)'", r'"\1"', repr(type_))
    arguments = text[text.index("(") + 1 : -1] if "(" in text else ""
    for argument in _POSITIONAL.get(type(type_), ()):
        arguments = re.sub(rf"(^|, ){argument}=", r"\1", arguments)
    return f"{name}({arguments})" if arguments else name


# Reading the MetaData -------------------------------------------------------------------------


def _common(item: Constraint | sa.Index) -> list[str]:
    """Return the options that constraints and indexes share, the name among them."""
    arguments = []
    if isinstance(item, Constraint):
        if isinstance(item.name, str):
            arguments.append(f"name={literal(item.name)}")
        if item.deferrable is not None:
            arguments.append(f"deferrable={item.deferrable!r}")
        if item.initially is not None:
            arguments.append(f"initially={literal(item.initially)}")
        if item.comment is not None:
            arguments.append(f"comment={literal(item.comment)}")
    for name, value in _options(item):
        if isinstance(value, ClauseElement):
            arguments.append(f"{name}={_text(value)}")
        elif name == "postgresql_include":
            columns = [getattr(column, "name", column) for column in value]
            arguments.append(f"{name}={literal(columns)}")
        else:
            arguments.append(f"{name}={literal(value)}")
    return arguments


def _options(item: Any) -> Iterable[tuple[str, Any]]:
    options: Mapping[str, Any] = item.dialect_kwargs
    for name, value in sorted(options.items()):
        if name.startswith("postgresql_") and (
            isinstance(value, ClauseElement) or value not in (None, False, {}, [], ())
        ):
            yield name, dict(value) if isinstance(value, Mapping) else value


_KINDS = (
    sa.PrimaryKeyConstraint,
    sa.UniqueConstraint,
    sa.ForeignKeyConstraint,
    sa.CheckConstraint,
)


def _sorted(constraints: Iterable[Any]) -> list[Any]:
    """Return constraints by what they are, then by name."""

    def order(constraint: Constraint) -> tuple[int, str, list[str]]:
        kind = next(
            (place for place, kind in enumerate(_KINDS) if isinstance(constraint, kind)),
            len(_KINDS),
        )
        columns = getattr(constraint, "columns", ())
        return kind, str(constraint.name), [column.name for column in columns]

    return sorted(constraints, key=order)


def _has_order(index: sa.Index) -> bool:
    """Return whether a part has a direction: it needs the table's column, not its name."""
    return any(isinstance(part, UnaryExpression) for part in index.expressions)


def _dotted(key: sa.ForeignKeyConstraint) -> bool:
    target = key.referred_table
    names = [target.schema or "", target.name, *(element.column.name for element in key.elements)]
    return any("." in name for name in names)


def _parents_first(metadata: MetaData) -> list[Table]:
    """Return the tables below those that they reference; a cycle begins with its first name."""
    found: dict[str, Table] = {}
    entered: set[str] = set()
    for start in sorted(metadata.tables):
        stack = [(metadata.tables[start], False)]
        while stack:
            table, parents_done = stack.pop()
            if parents_done:
                found[table.key] = table
            elif table.key not in entered:
                entered.add(table.key)
                stack.append((table, True))
                parents = {key.referred_table.key for key in table.foreign_key_constraints}
                stack += [
                    (metadata.tables[parent], False)
                    for parent in sorted(parents - entered, reverse=True)
                ]
    return list(found.values())
