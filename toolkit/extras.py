"""Everything that ``MetaData`` loses, as PostgreSQL's own text: opaque, but ordered. Pure.

A file of extras is SQL in which a comment line introduces each object::

    -- regionkit: domain email
    CREATE DOMAIN shop.email AS text CONSTRAINT email_check CHECK (VALUE ~ '@');

    -- regionkit: tables

    -- regionkit: function keep_balance()
    CREATE OR REPLACE FUNCTION shop.keep_balance() RETURNS trigger ...;

    -- regionkit: trigger entry_balance on entry
    CREATE TRIGGER entry_balance AFTER INSERT ON shop.entry FOR EACH ROW EXECUTE FUNCTION ...;

    -- regionkit: left behind event trigger audit: it belongs to the database, not to a schema

What stands above the line ``tables`` is created before them. A file without that line has types,
domains, sequences, collations and extensions created before them, and everything else after.

A name that holds more than letters, digits and underscores is in double quotes; a name of another
schema than the default one has its schema in front; a function is followed by the types of its
arguments, where several share its name. A trigger that does not simply fire has its state behind
the table: ``disabled``, ``replica`` (fires under replication only) or ``always``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from toolkit import sqltext
from toolkit.errors import Refused, UsageError
from toolkit.sqltext import Kind, Renames

#: The setting that a move sets for its transaction, so that carried row triggers stay silent: rows
#: that change their partition are deleted and inserted, and nothing of that is the application's.
MOVING = "regionkit.moving"
_GUARD = f"current_setting('{MOVING}', true) IS DISTINCT FROM 'on'"


class ExtraKind(StrEnum):
    """What an extra is."""

    extension = "extension"
    collation = "collation"
    sequence = "sequence"
    type = "type"
    domain = "domain"
    function = "function"
    procedure = "procedure"
    aggregate = "aggregate"
    operator = "operator"
    operator_family = "operator family"
    operator_class = "operator class"
    cast = "cast"
    text_search_dictionary = "text search dictionary"
    text_search_configuration = "text search configuration"
    view = "view"
    materialized_view = "materialized view"
    #: Of a materialized view; those of tables are in the ``MetaData``.
    view_index = "index"
    rule = "rule"
    trigger = "trigger"
    policy = "policy"
    #: Its name is ``enabled`` or ``forced``.
    row_security = "row security"
    #: Which column owns a sequence.
    ownership = "ownership"
    #: How a column, or a table's rows, are stored.
    storage = "storage"
    statistics = "statistics"
    replica_identity = "replica identity"
    cluster_mark = "cluster mark"
    comment = "comment"
    # Never carried; listed, so that nothing is silent.
    conversion = "conversion"
    text_search_parser = "text search parser"
    text_search_template = "text search template"
    foreign_table = "foreign table"
    foreign_server = "foreign server"
    event_trigger = "event trigger"
    publication = "publication"
    subscription = "subscription"
    large_objects = "large objects"
    privileges = "privileges"


#: Created before the tables in a file that does not say.
_FIRST = frozenset(
    {
        ExtraKind.extension,
        ExtraKind.collation,
        ExtraKind.sequence,
        ExtraKind.type,
        ExtraKind.domain,
    }
)
#: What has arguments.
CALLABLE = frozenset(
    {ExtraKind.function, ExtraKind.procedure, ExtraKind.aggregate, ExtraKind.operator}
)
#: What shares one namespace with tables.
RELATIONS = frozenset(
    {
        ExtraKind.sequence,
        ExtraKind.type,
        ExtraKind.domain,
        ExtraKind.view,
        ExtraKind.materialized_view,
        ExtraKind.view_index,
    }
)
#: What belongs to a table, or to a view.
_ON_TABLE = frozenset(
    {
        ExtraKind.view_index,
        ExtraKind.rule,
        ExtraKind.trigger,
        ExtraKind.policy,
        ExtraKind.row_security,
        ExtraKind.ownership,
        ExtraKind.storage,
        ExtraKind.replica_identity,
        ExtraKind.cluster_mark,
    }
)
#: What a comment can be on, besides what is an extra itself.
_COMMENTED = ("constraint", "schema", "column", "table")
_STATES = ("disabled", "replica", "always")


@dataclass(frozen=True)
class Extra:
    """One object that is carried as text.

    Attributes:
        kind: what it is.
        name: its name, without a schema.
        definition: the statements that create it, without the semicolon at their end.
        table: key of the table (or name of the view) it belongs to; ``None`` where there is none.
        state: ``disabled``, ``replica`` or ``always`` for a trigger that does not simply fire.
        schema: that it is in; ``None`` for the default one, and for what is in none.
        arguments: types of a function's arguments, as PostgreSQL tells overloads apart; ``None``
            where only one has the name.
        of: for a comment, the kind of what it is on.
        early: whether it is created before the tables.
        left: why it is not carried; ``None`` for what is.
    """

    kind: ExtraKind
    name: str
    definition: str
    table: str | None = None
    state: str | None = None
    schema: str | None = None
    arguments: str | None = None
    of: str | None = None
    early: bool = False
    left: str | None = None

    @property
    def title(self) -> str:
        """What it is and which one, as in the line that introduces it."""
        words = [str(self.kind), *([self.of] if self.of else [])]
        name = ".".join(_shown(part) for part in (self.schema, self.name) if part is not None)
        if self.arguments is not None:
            name += f"({self.arguments})"
        words.append(name)
        if self.table is not None:
            bare = re.fullmatch(rf"{_BARE}(?:\.{_BARE})*", self.table)
            words += ["on", self.table if bare else _shown(self.table)]
        if self.state is not None:
            words.append(self.state)
        return " ".join(words)


def _shown(part: str) -> str:
    """Return a part of a name for a header: on one line, in quotes only where it needs them."""
    if re.fullmatch(_BARE, part):
        return part
    for plain, escaped in _ESCAPES.items():
        part = part.replace(plain, escaped)
    return f'"{part}"'


#: A part of a name that needs no quotes in a header.
_BARE = r"""[^\s".()\\:]+"""
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", '"': '""'}
_ESCAPED = re.compile(r'\\\\|\\n|\\r|""')
_HEADER = re.compile(r"--[^\S\n]*regionkit:[^\S\n]*(?P<what>.*?)[^\S\n]*$")
_PART = r"""(?:"(?:[^"]|"")*"|[^\s".()]+)"""
_WHAT = re.compile(
    rf"""(?P<left>left\ behind\s+)?
    (?P<kind>{"|".join(re.escape(kind) for kind in sorted(ExtraKind, reverse=True))})\s+
    (?P<name>{_PART}(?:\.{_PART})?)(?P<arguments>\(.*?\)(?=\s+on\s|:\s|$))?
    (?:\s+on\s+(?P<table>{_PART}(?:\.{_PART})*)(?:\s+(?P<state>{"|".join(_STATES)}))?)?
    (?(left):\s+(?P<reason>.+))""",
    re.X,
)
_DIVIDER = "tables"
_HINT = "write '-- regionkit: function NAME' or '-- regionkit: trigger NAME on TABLE'"


def parse(text: str) -> tuple[Extra, ...]:
    """Read a file of extras.

    Raises:
        UsageError: a header is of another form, or a statement stands without a header.
    """
    sections = list(_sections(text))
    if _is_code(sections[0][1]):
        raise UsageError(
            "the extras begin with a statement that no '-- regionkit:' line introduces", hint=_HINT
        )
    divided = any(what == _DIVIDER for what, _ in sections[1:])
    extras: list[Extra] = []
    early = divided
    for what, body in sections[1:]:
        definition = body.strip().removesuffix(";").rstrip()
        if what == _DIVIDER:
            early = False
            if _is_code(definition):
                raise UsageError(
                    "extras: a statement follows the line '-- regionkit: tables'", hint=_HINT
                )
            continue
        extra = _read(what, definition)
        if extra is None:
            raise UsageError(f"extras: cannot read the line '-- regionkit: {what}'", hint=_HINT)
        if extra.left is None and not _is_code(definition):
            raise UsageError(
                f"extras: no statement follows the line '-- regionkit: {what}'",
                hint="write the statement below the line, or take the line out",
            )
        first = early if divided else extra.kind in _FIRST
        extras.append(replace(extra, early=first and extra.left is None))
    return tuple(extras)


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Yield what stands before the first header, then each header with what follows it."""
    what, fresh = "", True
    body: list[str] = []
    for token in sqltext.tokens(text):
        header = _HEADER.match(token.text) if fresh and token.kind is Kind.comment else None
        if header is None:
            body.append(token.text)
        else:
            yield what, "".join(body)
            what, body = header["what"].strip(), []
        fresh = token.kind is Kind.space and token.text.endswith("\n")
    yield what, "".join(body)


def _is_code(text: str) -> bool:
    return any(
        token.kind not in (Kind.space, Kind.comment) and token.text != ";"
        for token in sqltext.tokens(text)
    )


def _read(what: str, definition: str) -> Extra | None:
    """Return the extra that a header introduces; ``None`` if it is not of the form."""
    of = None
    comment = re.match(rf"(?P<left>left behind\s+)?{ExtraKind.comment}\s+", what)
    if comment is not None:
        rest = what[comment.end() :]
        kinds = sorted([*ExtraKind, *_COMMENTED], key=len, reverse=True)
        of = next((str(kind) for kind in kinds if rest.startswith(f"{kind} ")), None)
        what = f"{comment['left'] or ''}{ExtraKind.comment} {rest[len(of or '') :].strip()}"
    match = _WHAT.fullmatch(what)
    if match is None or (match["kind"] == ExtraKind.comment) != (of is not None):
        return None
    kind = ExtraKind(match["kind"])
    if of is None and kind in _ON_TABLE and not match["table"] and not match["left"]:
        return None
    if match["table"] and of is None and not match["left"] and kind not in _ON_TABLE:
        return None
    if match["arguments"] and (kind if of is None else of) not in CALLABLE:
        return None
    parts = _parts(match["name"])
    return Extra(
        kind,
        parts[-1],
        "" if match["left"] else definition,
        ".".join(_parts(match["table"])) if match["table"] else None,
        match["state"],
        parts[0] if len(parts) > 1 else None,
        match["arguments"][1:-1] if match["arguments"] else None,
        of,
        left=match["reason"],
    )


def _parts(name: str) -> list[str]:
    return [
        _ESCAPED.sub(_unescaped, part[1:-1]) if part.startswith('"') else part
        for part in re.findall(_PART, name)
    ]


def _unescaped(found: re.Match[str]) -> str:
    return next(plain for plain, escaped in _ESCAPES.items() if escaped == found.group())


def render(extras: Iterable[Extra]) -> str:
    """Return the file that :func:`parse` reads as these extras, in this order, early ones first."""
    found = list(extras)
    first = [extra for extra in found if extra.early]
    sections = [_section(extra) for extra in first]
    if first:
        sections.append("-- regionkit: tables\n")
    sections += [_section(extra) for extra in found if not extra.early]
    return "\n".join(sections)


def _section(extra: Extra) -> str:
    if extra.left is not None:
        return f"-- regionkit: left behind {extra.title}: {extra.left}\n"
    return f"-- regionkit: {extra.title}\n{extra.definition};\n"


def relation_names(extras: Iterable[Extra]) -> Iterator[str]:
    """Yield the names of the default schema that nothing generated may take."""
    for extra in extras:
        if extra.kind in RELATIONS and extra.schema is None:
            yield extra.name


def in_schemas(definition: str, schemas: Mapping[str, str]) -> str:
    """Return a definition with every ``schema.`` qualifier and every search path replaced.

    Args:
        definition: PostgreSQL's text.
        schemas: from the source's schema to the target's, both unquoted.
    """
    return Renames(schemas=schemas, whole=True).apply(definition)


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


def guarded_rule(rule: Extra) -> Extra:
    """Return a rule that keeps silent while regionkit moves or loads rows.

    Raises:
        Refused: the definition is not of the form that ``pg_get_ruledef`` prints.
    """
    found = list(sqltext.tokens(rule.definition))
    depth, where, do = 0, None, None
    for position, token in enumerate(found):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.means("WHERE") and where is None:
            where = position
        if depth == 0 and token.means("DO"):
            do = position
            break
    if do is None:
        raise Refused(
            f"rule {rule.name!r} on {rule.table!r} is not written as PostgreSQL prints it",
            hint="replace it by the text of pg_get_ruledef(oid)",
        )
    texts = [token.text for token in found]
    head = "".join(texts[: do if where is None else where]).rstrip()
    condition = "" if where is None else f"({''.join(texts[where + 1 : do]).strip()}) AND "
    definition = f"{head}\n  WHERE ({condition}{_GUARD}) {''.join(texts[do:])}"
    return replace(rule, definition=definition)
