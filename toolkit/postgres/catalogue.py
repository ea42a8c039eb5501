"""Compares the catalogue of a layout with what its plan creates: parents, leaves, every object.

The plan is carried out in a scratch schema, of which nothing stays, and the server's own text of
both is compared; a model compared with a reflection would lose too much.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from toolkit.extras import MOVING, Extra
from toolkit.findings import Code, Finding
from toolkit.layout import Layout
from toolkit.postgres import generate, inspect, locks, scratch
from toolkit.postgres.inspect import Catalogue

_MISSING = {
    "constraints": Code.constraint_missing,
    "indexes": Code.index_missing,
    "triggers": Code.trigger_missing,
}
_ACL = re.compile(r" acl \S*")
_COMMENT = re.compile(r" comment .*", re.S)


def planned(url: str, layout: Layout, extras: Sequence[Extra], budget: int) -> Catalogue:
    """Return the catalogue that the plan of a layout gives on a server. Nothing of it stays.

    Args:
        url: of the target; it needs the right to create a schema.
        layout: the decisions.
        extras: functions and triggers of the source.
        budget: how many locks a transaction may take.

    Raises:
        sqlalchemy.exc.DBAPIError: the server refused.
    """
    schema = scratch.new_name()
    parts = locks.split(generate.operations(layout, schema, extras), budget)
    with scratch.carried_out(url, schema, parts, budget) as connection:
        return inspect.catalogue(connection, schema)


def compare(
    expected: Catalogue,
    actual: Catalogue,
    server: str,
    closed: AbstractSet[str] = frozenset(),
) -> list[Finding]:
    """Return one finding for each object that is missing or different, and for what is too many.

    Pure. Too many are tables and columns. What else an operator adds to the tables of a layout is
    theirs: a view, an index, a constraint, a trigger, a comment, what is granted on a table, and
    whether a trigger of the source's fires. What is granted on a partition is not: it lets somebody
    past the table.

    Args:
        expected: the catalogue as planned.
        actual: the catalogue as it is.
        server: the target's name, for findings.
        closed: tables on which nothing may be granted either: key tables are copies of personal
            data outside its region.
    """
    found = []
    views = {
        name
        for name, text in actual["relations"].items()
        if text.startswith(("v ", "m ")) and name not in expected["relations"]
    }
    for kind, objects in expected.items():
        there = actual[kind]
        for name in sorted(objects.keys() | there.keys()):
            grants = name in closed
            wanted = _substance(objects.get(name), grants=grants)
            seen = _substance(there.get(name), grants=grants)
            if wanted == seen:
                continue
            table = name.partition(".")[0]
            word = kind.removesuffix("es" if kind == "indexes" else "s")
            if seen is None:
                code = _MISSING.get(kind, Code.catalogue_differs)
                detail = f"{word} {name} is missing"
            elif wanted is None:
                if kind not in ("relations", "columns") or table in views:
                    continue
                code, detail = Code.catalogue_differs, f"{name} is not in the plan"
            else:
                code = Code.catalogue_differs
                detail = f"{word} {name} is not as planned: {seen}"
            found.append(Finding(code, server, table, keys=(name,), detail=detail))
    return found


def _substance(text: str | None, *, grants: bool) -> str | None:
    """Return what an object is, without what an operator may say of it, grant or switch off."""
    if text is None:
        return None
    text = _COMMENT.sub("", text)
    if MOVING in text:
        # The guard that every carried row trigger has; the last word says when it fires.
        return text.rpartition(" ")[0]
    return text if grants or " of @." in text else _ACL.sub("", text)
