"""Which texts a server's encoding cannot give or take, as SQL over a column. Pure.

A database of encoding SQL_ASCII holds whatever bytes it was given; everything that leaves it for
another encoding has to be UTF-8. A database of another encoding has fewer characters than UTF-8.
"""

from __future__ import annotations

#: The encoding that knows no characters, only bytes.
SQL_ASCII = "SQL_ASCII"

#: Types whose text form is ASCII, whatever the value.
_ASCII = frozenset(
    {
        *("smallint", "integer", "bigint", "numeric", "real", "double precision", "boolean"),
        *("date", "timestamp without time zone", "timestamp with time zone", "interval"),
        *("time without time zone", "time with time zone", "uuid", "bytea", "oid", "money"),
    }
)

_TAIL = r"[\u0080-\u00bf]"
#: UTF-8 by its bytes, which are what a regular expression sees under SQL_ASCII.
_UTF8 = "|".join(
    (
        r"[\u0001-\u007f]",
        rf"[\u00c2-\u00df]{_TAIL}",
        rf"\u00e0[\u00a0-\u00bf]{_TAIL}",
        rf"[\u00e1-\u00ec\u00ee\u00ef]{_TAIL}{{2}}",
        rf"\u00ed[\u0080-\u009f]{_TAIL}",
        rf"\u00f0[\u0090-\u00bf]{_TAIL}{{2}}",
        rf"[\u00f1-\u00f3]{_TAIL}{{3}}",
        rf"\u00f4[\u0080-\u008f]{_TAIL}{{2}}",
    )
)

NOT_UTF8 = "bytes that are not UTF-8, in a database whose encoding is SQL_ASCII"


def is_ascii(type_name: str) -> bool:
    """Return whether the text form of every value of a type is ASCII."""
    return type_name in _ASCII


def not_utf8(column: str) -> str:
    """Return the condition for a value, in a database of SQL_ASCII, to hold no valid UTF-8."""
    return f"({column})::text !~ '^(?:{_UTF8})*$'"


def unheld(column: str, source: str, target: str) -> tuple[str, str] | None:
    """Return condition and reason for values that a database of another encoding may not hold.

    Args:
        column: as SQL.
        source: the encoding of the database that holds it now.
        target: the encoding of the one that is to hold it.

    Returns:
        ``None`` where it holds every value. LATIN1 is known exactly; of other encodings only that
        they hold ASCII.
    """
    if target == source or (source != SQL_ASCII and target in ("UTF8", SQL_ASCII)):
        return None
    if source == SQL_ASCII and target == "UTF8":
        return not_utf8(column), NOT_UTF8
    if target == "LATIN1" and source == "UTF8":
        return (
            rf"({column})::text ~ '[^\u0001-\u00ff]'",
            "characters that the target's encoding LATIN1 does not have",
        )
    return (
        rf"({column})::text ~ '[^\u0001-\u007f]'",
        f"characters beyond ASCII, between the encodings {source} and {target}",
    )
