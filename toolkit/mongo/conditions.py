"""The condition of a partial index as MongoDB's filter. Pure.

MongoDB allows few operators there: equality, ranges and ``$and``. What cannot be said with them has
no counterpart; nothing is said nearly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bson.int64 import Int64

from toolkit.mongo.numerics import BigInteger, Integer, Truth
from toolkit.mongo.shape import DocumentShape, Field
from toolkit.mongo.strings import String

Filter = dict[str, Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<quoted>"(?:[^"]|"")+")
    |(?P<word>[^\W\d][\w$]*)|(?P<symbol>::|<>|!=|<=|>=|[=<>().\[\],]))""",
    re.X,
)
_RANGES = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
#: What follows the words of a type's name: ``character varying``, ``timestamp with time zone``.
_TYPE_WORDS = ("VARYING", "PRECISION", "WITH", "WITHOUT", "TIME", "ZONE")


class _Unknown(Exception):
    """Something that has no counterpart."""


@dataclass(frozen=True)
class _Constant:
    """A literal, ``True`` and ``False`` included."""

    value: str | int | bool


def translated(sql: str, shape: DocumentShape) -> Filter | None:
    """Return the filter that holds for the documents of the rows that a condition holds for.

    Args:
        sql: the condition, as PostgreSQL prints it or a model writes it.
        shape: of the table's documents.

    Returns:
        The filter, or ``None`` if there is none.
    """
    try:
        return _Parser(sql, shape).filter()
    except _Unknown:
        return None


def both(filters: list[Filter]) -> Filter | None:
    """Return the filter that holds where all of them hold; ``None`` for none."""
    found: list[Filter] = []
    for one in filters:
        found += [part for part in one.get("$and", [one]) if part not in found]
    return {"$and": found} if len(found) > 1 else found[0] if found else None


class _Parser:
    """Reads one condition, from left to right."""

    def __init__(self, sql: str, shape: DocumentShape) -> None:
        self._shape = shape
        self._columns = {field.column for field in shape.columns}
        self._tokens: list[tuple[str, str]] = []
        self._place = 0
        position = 0
        while position < len(sql.rstrip()):
            match = _TOKEN.match(sql, position)
            if match is None or match.lastgroup is None:
                raise _Unknown
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()

    def filter(self) -> Filter:
        found = self._all()
        if self._place != len(self._tokens):
            raise _Unknown
        return found

    # Tokens ----------------------------------------------------------------------------------

    def _is(self, *texts: str) -> bool:
        """Return whether these tokens follow, and step over them if they do."""
        ahead = self._tokens[self._place : self._place + len(texts)]
        if [text.upper() for _, text in ahead] != list(texts):
            return False
        self._place += len(texts)
        return True

    def _next(self) -> tuple[str, str]:
        if self._place == len(self._tokens):
            raise _Unknown
        self._place += 1
        return self._tokens[self._place - 1]

    # Conditions ------------------------------------------------------------------------------

    def _all(self) -> Filter:
        filters = [self._one()]
        while self._is("AND"):
            filters.append(self._one())
        found = both(filters)
        assert found is not None
        return found

    def _one(self) -> Filter:
        place = self._place
        if self._is("("):
            # A condition, or the left side of one: ``(status)::text = 'open'::text``.
            try:
                found = self._all()
                if self._is(")") and not self._follows():
                    return found
            except _Unknown:
                pass
            self._place = place
        if self._is("NOT"):
            return self._truth(self._operand(), False)
        left = self._operand()
        if not isinstance(left, Field):
            raise _Unknown
        if self._is("IS", "NOT", "NULL"):
            return self._not_null(left)
        if self._is("IS", "NULL"):
            if left.bson.row_like:
                raise _Unknown
            return {self._path(left): {"$type": "null"}}
        if self._is("IS", "TRUE"):
            return self._truth(left, True)
        if self._is("IS", "FALSE"):
            return self._truth(left, False)
        if not self._follows():
            return self._truth(left, True)
        _, operator = self._next()
        return self._compared(left, operator, self._operand())

    def _follows(self) -> bool:
        """Return whether the condition goes on."""
        if self._place == len(self._tokens):
            return False
        return self._tokens[self._place][1].upper() not in ("AND", ")")

    def _operand(self) -> Field | _Constant:
        """Read a column or a constant, with whatever casts stand behind it."""
        kind, text = self._next()
        found: Field | _Constant
        if text == "(":
            found = self._operand()
            if not self._is(")"):
                raise _Unknown
        elif kind == "string":
            found = _Constant(text[1:-1].replace("''", "'"))
        elif kind == "number":
            found = _Constant(int(text))
        elif kind == "word" and text.upper() in ("TRUE", "FALSE"):
            found = _Constant(text.upper() == "TRUE")
        else:
            name = text[1:-1].replace('""', '"') if kind == "quoted" else text.lower()
            if kind not in ("word", "quoted") or name not in self._columns:
                raise _Unknown
            found = self._shape.field(name)
        while self._is("::"):
            self._type(found)
        return found

    def _type(self, of: Field | _Constant) -> None:
        """Step over a type; a column may only become text, which does not change what is equal."""
        kind, text = self._next()
        if kind not in ("word", "quoted"):
            raise _Unknown
        words = [text.lower()]
        while self._is("."):
            words = [self._next()[1].lower()]
        while self._place < len(self._tokens) and (
            self._tokens[self._place][1].upper() in _TYPE_WORDS
        ):
            words.append(self._next()[1].lower())
        if self._is("("):
            raise _Unknown  # A length would cut values off.
        if isinstance(of, Field) and not (
            type(of.bson) is String and words in (["text"], ["character", "varying"])
        ):
            raise _Unknown

    # Filters ---------------------------------------------------------------------------------

    def _path(self, field: Field) -> str:
        return self._shape.paths(field.column)[0]

    def _not_null(self, field: Field) -> Filter:
        # SQL calls a row NULL, and not NULL, by its parts.
        if field.bson.array_like or field.bson.row_like:
            raise _Unknown
        return field.bson.not_null(self._path(field))

    def _truth(self, operand: Field | _Constant, wanted: bool) -> Filter:
        if not isinstance(operand, Field) or type(operand.bson) is not Truth:
            raise _Unknown
        return {self._path(operand): wanted}

    def _compared(self, left: Field, operator: str, right: Field | _Constant) -> Filter:
        if not isinstance(right, _Constant):
            raise _Unknown
        value, path = right.value, self._path(left)
        if type(left.bson) is Truth and operator == "=" and isinstance(value, bool):
            return {path: value}
        if type(left.bson) is String and isinstance(value, str):
            # A char(n) pads what it is compared with; here nothing does.
            if left.bson.folds_case or left.bson.form_of or value.endswith(" "):
                raise _Unknown
            if operator == "=":
                return {path: value}
            if operator in ("<>", "!=") and value == "":
                return {path: {"$gt": ""}}
        if type(left.bson) in (Integer, BigInteger) and type(value) is not bool:
            try:
                number = int(value)
            except ValueError:
                raise _Unknown from None
            if not -(2**63) <= number < 2**63:
                raise _Unknown
            exact = Int64(number) if type(left.bson) is BigInteger else number
            if operator == "=":
                return {path: exact}
            if operator in _RANGES:
                return {path: {_RANGES[operator]: exact}}
        raise _Unknown
