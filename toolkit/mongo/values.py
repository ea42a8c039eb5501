"""What every type of a document's field can do. Pure.

A SQL column becomes one BSON field, or two where BSON would lose something (a timestamp's last
three digits). :class:`BsonType` says how PostgreSQL hands the value over, how it is encoded, and
how value *and type* are compared afterwards, by two ways that share no code.

How to add one: subclass :class:`BsonType`, name its ``suffixes``, and write the abstract methods.
``canonical(encode(read))`` in Python must equal ``canonical_expression`` in PostgreSQL for every
value that is not refused, and must differ from it for a value of any other BSON type. Then name the
PostgreSQL type in ``toolkit/mongo/types.py``.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

#: A fragment of ``$jsonSchema``.
Schema = dict[str, Any]


class ValueRefused(ValueError):
    """A value that the target cannot hold exactly.

    Args:
        reason: why, in words for the operator, without the value (it may be personal data).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Missing:
    """The type of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


#: Stands for a field that a document does not have, which is not the same as null.
MISSING: Final = _Missing()


def wrong(value: object) -> str:
    """Return the canonical text of a value whose BSON type is not the column's.

    It starts with NUL, which no PostgreSQL text can hold, so that it never equals a source's.
    """
    return f"\x00{type(value).__name__}"


def joined(texts: Sequence[str | None]) -> str:
    """Return several canonical texts as one; :func:`joined_expression` is its other half."""
    return json.dumps(list(texts), ensure_ascii=False, separators=(",", ":"))


def joined_expression(expressions: Sequence[str]) -> str:
    """Return the SQL expression that gives what :func:`joined` gives."""
    return f"to_json(array[{', '.join(expressions)}]::text[])::text"


def any_of(reasons: Iterable[str]) -> str:
    """Return reasons, which can be several each, as one: each once, and nothing for no reason."""
    single = (one for reason in reasons for one in reason.split("; or "))
    return "; or ".join(dict.fromkeys(filter(None, single)))


def elements(column: str) -> str:
    """Return the FROM clause in which ``item.value`` and ``item.place`` are those of an array."""
    return f"from unnest({column}) with ordinality as item(value, place)"


def joined_elements(element: str, items: str) -> str:
    """Return the SQL expression of one text for all elements, in their order.

    Args:
        element: the text of ``item.value``.
        items: the FROM clause, see :func:`elements`.
    """
    texts = f"coalesce(array_agg({element} order by item.place), '{{}}')::text[]"
    return f"(select to_json({texts})::text {items})"


class BsonType(ABC):
    """How one PostgreSQL type is carried.

    Attributes:
        suffixes: what is added to the column's name for each field that it becomes. The first is
            the value itself; the others are null exactly when it is.
        bson: the names of the BSON types that the first field can have, without null.
        as_text: whether values travel as PostgreSQL's text form, for want of a BSON type.
        array_like: whether a value can be a BSON array, so that an index has one entry for each
            element.
        folds_case: whether the SQL type compares without case.
        unbounded: whether a value can be of any length.
        growth: how many bytes of BSON come of one byte of PostgreSQL's text form, at most.
        row_like: whether the SQL type is a composite one, which ``unnest`` takes apart.
        refusal: why a cell can be refused; empty where none can.
    """

    suffixes: ClassVar[tuple[str, ...]] = ("",)
    bson: ClassVar[tuple[str, ...]]
    as_text: bool = False
    array_like: ClassVar[bool] = False
    folds_case: bool = False
    unbounded: bool = False
    # The worst scalar is an array's numeric of one digit: two bytes of text, and 25 of BSON.
    growth: int = 16
    row_like: ClassVar[bool] = False
    refusal: str = ""

    @abstractmethod
    def not_null(self, path: str) -> Schema:
        """Return a filter for a partial index that holds for every value but null.

        It is a range, because the planner cannot prove that an equality lies within ``$type``.
        """

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return the fragment of ``$jsonSchema`` of each field, in the order of ``suffixes``."""
        return (self.typed(nullable),)

    def typed(self, nullable: bool, **keywords: Any) -> Schema:
        """Return a fragment that allows ``bson``, null too when ``nullable``, and keywords."""
        names = [*self.bson, *(["null"] if nullable else [])]
        return {"bsonType": names[0] if len(names) == 1 else names, **keywords}

    @abstractmethod
    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the SQL expressions whose values :meth:`encode` takes.

        Args:
            column: the column as SQL, quoted and qualified as the statement needs it.
        """

    def encode(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the BSON value of each field, in the order of ``suffixes``.

        Args:
            values: what the driver returned for each of :meth:`read_expression`.

        Raises:
            ValueRefused: the value cannot be carried exactly.
        """
        if values[0] is None:
            return (None,) * len(self.suffixes)
        return self.encode_value(values)

    @abstractmethod
    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Do what :meth:`encode` says, for a value that is not NULL."""

    def text_expression(self, column: str) -> str:
        """Return the SQL of one text that holds all that is read of a value: NULL for NULL.

        Values within other values are read so.
        """
        (part,) = self.read_expression(column)
        return f"({part})::text"

    def read_text(self, text: str) -> tuple[Any, ...]:
        """Return what :meth:`encode` takes, given what :meth:`text_expression` gave."""
        return (text,)

    def encode_text(self, text: str | None) -> tuple[Any, ...]:
        """Do what :meth:`encode` does, given what :meth:`text_expression` gave."""
        return (None,) * len(self.suffixes) if text is None else self.encode(self.read_text(text))

    def canonical(self, parts: Sequence[Any]) -> str | None:
        """Return the canonical text of what stands in a document; ``None`` for null.

        Args:
            parts: the value of each field in the order of ``suffixes``, :data:`MISSING` for a field
                that is not there. Read them with :data:`toolkit.mongo.types.VERIFY_OPTIONS`:
                PyMongo's defaults turn some subdocuments into objects of their own.
        """
        if all(part is None for part in parts):
            return None
        return self.canonical_value(parts)

    @abstractmethod
    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Do what :meth:`canonical` says, for parts that are not all null."""

    @abstractmethod
    def canonical_expression(self, column: str) -> str:
        """Return the SQL expression of the canonical text: NULL for NULL."""

    def refusal_predicate(self, column: str) -> str | None:
        """Return the SQL condition that is true for exactly the cells that are refused.

        ``None`` where no cell can be.
        """
        return None


class WireType(BsonType):
    """A type that is read as the bytes of its wire form."""

    def text_expression(self, column: str) -> str:
        """Return the bytes in hexadecimal."""
        (part,) = self.read_expression(column)
        return f"encode({part}, 'hex')"

    def read_text(self, text: str) -> tuple[Any, ...]:
        """Return the bytes."""
        return (bytes.fromhex(text),)


def ordered_items(value: object) -> list[tuple[str, Any]] | None:
    """Return the fields of a subdocument in their order, ``None`` for anything else."""
    return list(value.items()) if isinstance(value, Mapping) else None
