"""The text of a migration file: deterministic, and laid out as a formatter would. Pure."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bson.binary import Binary

from toolkit.mongo.indexes import CollectionIndex
from toolkit.mongo.layout import CollectionsLayout

_WIDTH = 100
_INDENT = 4

_BRACKETS = {dict: ("{", "}"), list: ("[", "]"), tuple: ("(", ")")}

_IMPORTS = {
    "Binary(": "from bson.binary import Binary",
    "datetime(": "from datetime import UTC, datetime",
}


def migration(
    layout: CollectionsLayout, *, revision: str, down_revision: str | None, message: str
) -> str:
    """Return the migration that creates a layout.

    Args:
        layout: what to create.
        revision: id of the new revision.
        down_revision: id of the one before, ``None`` for the first.
        message: what it is, in one line.
    """
    upgrade = "\n".join(_upgrade(layout))
    downgrade = "\n".join(_downgrade(layout))
    standard = [_IMPORTS["datetime("], ""] if "datetime(" in upgrade else []
    foreign = [_IMPORTS["Binary("], ""] if "Binary(" in upgrade else []
    return "\n".join(
        [
            f'"""{_line(message)}"""',
            "",
            "from __future__ import annotations",
            "",
            *standard,
            *foreign,
            "from toolkit.mongo.operations import Operations",
            "",
            f"revision = {literal(revision)}",
            f"down_revision = {literal(down_revision)}",
            f"model_digest = {literal(layout.digest())}",
            "",
            "",
            "def upgrade(op: Operations) -> None:",
            upgrade,
            "",
            "",
            "def downgrade(op: Operations) -> None:",
            downgrade,
            "",
        ]
    )


def _line(message: str) -> str:
    """Return a message as a docstring: a sentence, wrapped if it is long."""
    line = " ".join(message.replace("\\", "/").replace('"', "'").split()) or "Collections"
    line = line[0].upper() + line[1:]
    lines = textwrap.wrap(line if line[-1] in ".!?" else f"{line}.", _WIDTH - 6)
    return lines[0] if len(lines) == 1 else "\n".join([*lines, ""])


def _upgrade(layout: CollectionsLayout) -> list[str]:
    region_list = layout.region_list
    calls = [
        _call(
            "create_region_list",
            [region_list.name, list(layout.regions)],
            {"validator": region_list.validator},
        )
    ]
    for one in layout.shared.values():
        calls.append(
            _call(
                "create_collection",
                [one.name],
                {"validator": one.validator, "indexes": _indexes(one.indexes)},
            )
        )
    link = layout.link
    calls.append(
        _call(
            "create_link",
            [link.name],
            {"validator": link.validator, "indexes": _indexes(link.indexes)},
        )
    )
    for key in layout.keys.values():
        one = key.collection
        calls.append(
            _call(
                "create_key_collection",
                [one.name],
                {"validator": one.validator, "collation": one.collation},
            )
        )
    for regional in layout.regional.values():
        calls.append(
            _call(
                "create_regional_collections",
                [regional.table_key, dict(regional.names)],
                {
                    "region_field": regional.region_field,
                    "validator": regional.validator,
                    "indexes": _indexes(regional.indexes),
                },
            )
        )
    calls += [_call("create_view", [view.name, list(view.names)], {}) for view in layout.views]
    return calls


def _downgrade(layout: CollectionsLayout) -> list[str]:
    calls = [_call("drop_view", [view.name], {}) for view in reversed(layout.views)]
    for regional in reversed(list(layout.regional.values())):
        names = list(regional.names.values())
        calls.append(_call("drop_regional_collections", [regional.table_key, names], {}))
    singles = [
        *(key.collection for key in reversed(list(layout.keys.values()))),
        layout.link,
        *reversed(list(layout.shared.values())),
    ]
    calls += [_call("drop_collection", [one.name], {}) for one in singles]
    calls.append(_call("drop_region_list", [layout.region_list.name], {}))
    return calls


def _indexes(indexes: tuple[CollectionIndex, ...]) -> list[dict[str, Any]] | None:
    specs = []
    for index in indexes:
        spec: dict[str, Any] = {"name": index.name, "keys": [tuple(key) for key in index.keys]}
        if index.unique:
            spec["unique"] = True
        if index.partial is not None:
            spec["partial"] = index.partial
        if index.collation is not None:
            spec["collation"] = index.collation
        specs.append(spec)
    return specs or None


def _call(method: str, arguments: list[Any], keywords: Mapping[str, Any]) -> str:
    """Return a call of ``op``, without the keywords that are ``None``."""
    given = {key: value for key, value in keywords.items() if value is not None}
    flat = [*map(literal, arguments), *(f"{key}={literal(value)}" for key, value in given.items())]
    head = " " * _INDENT + f"op.{method}("
    line = f"{head}{', '.join(flat)})"
    if len(line) <= _WIDTH:
        return line
    inner = 2 * _INDENT
    pieces = [_piece("", value, inner) for value in arguments]
    pieces += [_piece(f"{key}=", value, inner) for key, value in given.items()]
    return "\n".join([head, *pieces, " " * _INDENT + ")"])


def _piece(prefix: str, value: Any, indent: int) -> str:
    """Return one line, or several, of a broken list of arguments or items."""
    pad = " " * indent
    flat = f"{pad}{prefix}{literal(value)},"
    if len(flat) > _WIDTH and isinstance(value, str) and prefix:
        inner = pad + " " * _INDENT
        lines = [f"{inner}{_string(part)}" for part in _words(value, _WIDTH - len(inner))]
        return "\n".join([f"{pad}{prefix}(", *lines, f"{pad}),"])
    if len(flat) <= _WIDTH or not isinstance(value, (dict, list, tuple)) or not value:
        return flat
    opening, closing = _BRACKETS[type(value)]
    if isinstance(value, dict):
        items = [_piece(f"{literal(key)}: ", item, indent + _INDENT) for key, item in value.items()]
    else:
        items = [_piece("", item, indent + _INDENT) for item in value]
    return "\n".join([f"{pad}{prefix}{opening}", *items, f"{pad}{closing},"])


def _words(text: str, width: int) -> list[str]:
    """Return a text in parts of at most ``width``, cut before words."""
    parts = [""]
    for word in re.findall(r"\s*\S+|\s+$", text):
        if parts[-1] and len(_string(parts[-1] + word)) > width:
            # The blank stays with the line that it ends.
            blank = word[: len(word) - len(word.lstrip())]
            parts[-1] += blank
            word = word[len(blank) :]
            parts.append("")
        parts[-1] += word
    return parts


def literal(value: Any) -> str:
    """Return a value as Python source, on one line.

    Raises:
        TypeError: nothing spells a value of this type.
    """
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, Binary):
        return f"Binary({_requoted(repr(bytes(value)))}, {value.subtype})"
    if isinstance(value, datetime) and value == datetime(
        value.year, value.month, value.day, tzinfo=UTC
    ):
        return f"datetime({value.year}, {value.month}, {value.day}, tzinfo=UTC)"
    if isinstance(value, Mapping):
        items = [f"{literal(key)}: {literal(item)}" for key, item in value.items()]
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(literal, value)) + ("," if len(value) == 1 else "") + ")"
    raise TypeError(f"no literal for {type(value).__name__}")


def _string(text: str) -> str:
    return _requoted(repr(text))


def _requoted(quoted: str) -> str:
    """Return a literal in double quotes, unless that needs more escapes."""
    prefix, quote, body = quoted[: quoted.index(quoted[-1])], quoted[-1], quoted[:-1]
    body = body[len(prefix) + 1 :]
    return quoted if quote == '"' or '"' in body else f'{prefix}"{body}"'
