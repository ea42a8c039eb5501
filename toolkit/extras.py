"""Everything that ``MetaData`` loses, as PostgreSQL's own text: opaque, but ordered. Pure.

A file of extras is SQL in which a comment line introduces each statement::

    -- regionkit: function keep_balance
    CREATE OR REPLACE FUNCTION shop.keep_balance() RETURNS trigger ...;

    -- regionkit: trigger entry_balance on entry
    CREATE TRIGGER entry_balance AFTER INSERT ON shop.entry FOR EACH ROW EXECUTE FUNCTION ...;

A trigger that does not simply fire has its state behind the table: ``disabled``, ``replica`` (fires
under replication only) or ``always``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from toolkit.errors import Refused, UsageError

#: The setting that a move sets for its transaction, so that carried row triggers stay silent: rows
#: that change their partition are deleted and inserted, and nothing of that is the application's.
MOVING = "regionkit.moving"
_GUARD = f"current_setting('{MOVING}', true) IS DISTINCT FROM 'on'"


class ExtraKind(StrEnum):
    """What an extra is."""

    function = "function"
    trigger = "trigger"


@dataclass(frozen=True)
class Extra:
    """One object that is carried as text.

    Attributes:
        kind: what it is.
        name: its name, without a schema.
        definition: the statement that creates it, without the semicolon at its end.
        table: key of the table it belongs to, for a trigger.
        state: ``disabled``, ``replica`` or ``always`` for a trigger that does not simply fire.
    """

    kind: ExtraKind
    name: str
    definition: str
    table: str | None = None
    state: str | None = None


_HEADER = re.compile(r"^--[^\S\n]*regionkit:[^\S\n]*(?P<what>.*?)[^\S\n]*$", re.M)
_WHAT = re.compile(
    r"(?P<kind>\w+)\s+(?P<name>\S+)"
    r"(?:\s+on\s+(?P<table>\S+)(?:\s+(?P<state>disabled|replica|always))?)?"
)


def parse(text: str) -> tuple[Extra, ...]:
    """Read a file of extras.

    Raises:
        UsageError: a header is of another form, or a statement stands without a header.
    """
    headers = list(_HEADER.finditer(text))
    head = text[: headers[0].start()] if headers else text
    if re.sub(r"--[^\n]*|\s", "", head):
        raise UsageError(
            "the extras begin with a statement that no '-- regionkit:' line introduces",
            hint="write '-- regionkit: function NAME' or '-- regionkit: trigger NAME on TABLE'",
        )
    extras = []
    for header, following in zip(headers, [*headers[1:], None], strict=False):
        match = _WHAT.fullmatch(header["what"])
        kind = match["kind"] if match else ""
        if (
            match is None
            or kind not in set(ExtraKind)
            or (kind == "trigger") != bool(match["table"])
        ):
            raise UsageError(
                f"extras: cannot read the line '-- regionkit: {header['what']}'",
                hint="write '-- regionkit: function NAME' or '-- regionkit: trigger NAME on TABLE'",
            )
        end = following.start() if following else len(text)
        definition = text[header.end() : end].strip().removesuffix(";").rstrip()
        if not re.sub(r"--[^\n]*|\s", "", definition):
            raise UsageError(
                f"extras: no statement follows the line '-- regionkit: {header['what']}'",
                hint="write the statement below the line, or take the line out",
            )
        extras.append(
            Extra(ExtraKind(kind), match["name"], definition, match["table"], match["state"])
        )
    return tuple(extras)


#: What PostgreSQL takes for a name without quotes, once it is in lower case.
_FOLDED = re.compile(r"[^\W\dA-Z][^\WA-Z]*[$]*")
_PATH_PART = re.compile(r""""[^"]+"|'[^']+'|[\w$]+""")
_SEARCH_PATH = re.compile(
    rf"(?P<head>\bSET\s+(?:LOCAL\s+)?search_path\s*(?:=|\bTO\b)\s*)"
    rf"(?P<path>(?:{_PATH_PART.pattern})(?:\s*,\s*(?:{_PATH_PART.pattern}))*)",
    re.I,
)


def in_schemas(definition: str, schemas: Mapping[str, str]) -> str:
    """Return a definition with every ``schema.`` qualifier and every search path replaced.

    Args:
        definition: PostgreSQL's text.
        schemas: from the source's schema to the target's, both unquoted.
    """
    if not schemas:
        return definition
    # All at once, so that a schema that is both a source and a target is replaced once.
    targets = {_quoted(source): _quoted(target) for source, target in schemas.items()}
    spellings = [re.escape(source) for source in targets]
    for source, target in schemas.items():
        if _FOLDED.fullmatch(source):
            targets[source.lower()] = _quoted(target)
            spellings.append(f"(?ai:{re.escape(source)})")

    def path(found: re.Match[str]) -> str:
        # A function that fixes its own search path would go on working on the source.
        parts = []
        for part in _PATH_PART.findall(found["path"]):
            name = f'"{part[1:-1]}"' if part[0] in "'\"" else part.lower()
            parts.append(targets.get(name, part))
        return found["head"] + ", ".join(parts)

    return re.sub(
        rf'(?<![\w".$])(?P<schema>{"|".join(spellings)})\.(?=[\w"])',
        lambda found: f"{targets.get(found['schema']) or targets[found['schema'].lower()]}.",
        _SEARCH_PATH.sub(path, definition),
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_TRIGGER = re.compile(
    r"""(?P<head>CREATE\s+(?P<constraint>CONSTRAINT\s+)?TRIGGER\s.*?)
    (?P<each>\sFOR\s+EACH\s+(?P<level>ROW|STATEMENT))
    (?:\s+WHEN\s+(?P<when>\(.*\)))?
    (?P<tail>\s+EXECUTE\s+(?:FUNCTION|PROCEDURE)\s.*)""",
    re.X | re.S | re.I,
)


def guarded(trigger: Extra) -> Extra:
    """Return a trigger that keeps silent while regionkit moves or loads rows.

    A statement trigger cannot see rows move between partitions and is returned unchanged.

    Raises:
        Refused: the definition is not of the form that ``pg_get_triggerdef`` prints, or it uses
            transition tables, which a row trigger on a partitioned table may not.
    """
    match = _TRIGGER.fullmatch(trigger.definition)
    if match is None:
        raise Refused(
            f"trigger {trigger.name!r} on {trigger.table!r} is not written as PostgreSQL prints it",
            hint="replace it by the text of pg_get_triggerdef(oid)",
        )
    if match["level"].upper() == "STATEMENT":
        return trigger
    if re.search(r"\bREFERENCING\b", match["head"], re.I):
        raise Refused(
            f"trigger {trigger.name!r} on {trigger.table!r} uses transition tables, which a row "
            "trigger on a partitioned table cannot have",
            hint="make it a statement trigger, or leave it out of the extras",
        )
    when = f"({match['when']} AND {_GUARD})" if match["when"] else f"({_GUARD})"
    definition = f"{match['head']}{match['each']} WHEN {when}{match['tail']}"
    return replace(trigger, definition=definition)
