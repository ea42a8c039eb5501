"""Privileges: read as PostgreSQL stores them, taken away, granted elsewhere, put back exactly.

PostgreSQL keeps the privileges of an object as a list, in the order in which they were granted, and
each entry knows who granted it. What is put back is the same list, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.errors import Refused
from toolkit.postgres import ddl
from toolkit.postgres.session import Connection
from toolkit.postgres.versions import GRANTED_SET

#: What changes the rows of a table, and what draws from a sequence.
WRITES = {
    "TABLE": frozenset({"INSERT", "UPDATE", "DELETE", "TRUNCATE"}),
    "SEQUENCE": frozenset({"USAGE", "UPDATE"}),
    "SCHEMA": frozenset[str](),
}


@dataclass(frozen=True)
class Grant:
    """What one role was granted by another.

    Attributes:
        grantee: the role; ``None`` for everybody.
        grantor: who granted it.
        privileges: each with whether it may be granted further.
    """

    grantee: str | None
    grantor: str
    privileges: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class AccessList:
    """The privileges on one object.

    Attributes:
        kind: ``TABLE``, ``SEQUENCE`` or ``SCHEMA``.
        name: of the object, without its schema.
        column: of the table, where the privileges are on a column alone.
        owner: of the object.
        grants: in the order in which PostgreSQL keeps them.
        default: whether nothing was ever granted: the owner has what an owner has by default.
    """

    kind: str
    name: str
    column: str | None
    owner: str
    grants: tuple[Grant, ...]
    default: bool

    def document(self) -> dict[str, Any]:
        """Return it for the journal."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> AccessList:
        """Return it from the journal."""
        grants = tuple(
            Grant(
                grant["grantee"],
                grant["grantor"],
                tuple((name, grantable) for name, grantable in grant["privileges"]),
            )
            for grant in document["grants"]
        )
        return cls(**{**document, "grants": grants})

    def identity(self, schema: str) -> tuple[str, str, str | None]:
        """Return what the privileges are on, under the name that its schema has now."""
        return self.kind, schema if self.kind == "SCHEMA" else self.name, self.column

    @property
    def writers(self) -> tuple[Grant, ...]:
        """The entries, but the owner's, that allow to write, or to draw."""
        return tuple(
            grant
            for grant in self.grants
            if grant.grantee != self.owner
            and WRITES[self.kind] & {name for name, _ in grant.privileges}
        )


_GRANTS = """(
  SELECT jsonb_agg(jsonb_build_object(
           'grantee', CASE WHEN e.grantee <> 0 THEN pg_get_userbyid(e.grantee) END,
           'grantor', pg_get_userbyid(e.grantor), 'privileges', e.privileges) ORDER BY i.n)
  FROM unnest({acl}) WITH ORDINALITY AS i(item, n) CROSS JOIN LATERAL (
    SELECT grantee, grantor,
           jsonb_agg(jsonb_build_array(privilege_type, is_grantable)) AS privileges
    FROM aclexplode(ARRAY[i.item]) GROUP BY 1, 2) AS e
)"""

_LISTS = f"""
SELECT 1, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname, NULL::text,
       pg_get_userbyid(c.relowner), c.relacl IS NULL, c.oid::bigint, 0,
       {
    _GRANTS.format(
        acl='''coalesce(c.relacl, acldefault(
           CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner))'''
    )
}
FROM pg_class c
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND c.relkind = ANY (%(kinds)s)
UNION ALL
SELECT 2, 'TABLE', c.relname, a.attname, pg_get_userbyid(c.relowner), false, c.oid::bigint,
       a.attnum, {_GRANTS.format(acl="a.attacl")}
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND c.relkind = ANY (%(kinds)s)
  AND a.attacl IS NOT NULL
UNION ALL
SELECT 3, 'SCHEMA', n.nspname, NULL, pg_get_userbyid(n.nspowner), n.nspacl IS NULL, n.oid::bigint,
       0, {_GRANTS.format(acl="coalesce(n.nspacl, acldefault('n', n.nspowner))")}
FROM pg_namespace n
WHERE n.oid = to_regnamespace(quote_ident(%(schema)s)) AND 'r' = ANY (%(kinds)s)
ORDER BY 1, 7, 8
"""


#: What rows are written to, and what only shows them.
_TABLES, _VIEWS = ["r", "p", "S"], ["v", "m"]


def view_access_lists(connection: Connection, schema: str) -> list[AccessList]:
    """Return the privileges on a schema's views, and on their columns."""
    return _read(connection, schema, _VIEWS)


def access_lists(connection: Connection, schema: str) -> list[AccessList]:
    """Return the privileges on a schema's tables, sequences and columns, and on itself."""
    return _read(connection, schema, _TABLES)


def _read(connection: Connection, schema: str, kinds: list[str]) -> list[AccessList]:
    return [
        AccessList.read(
            {
                "kind": kind,
                "name": name,
                "column": column,
                "owner": owner,
                "grants": grants or [],
                "default": default,
            }
        )
        for _, kind, name, column, owner, default, _, _, grants in connection.execute(
            _LISTS, {"schema": schema, "kinds": kinds}
        )
    ]


def require_restorable(connection: Connection, lists: Iterable[AccessList]) -> None:
    """Refuse to take away what this role could not put back.

    Raises:
        Refused: somebody else than the owner granted it, as whom this role may not act.
    """
    grantors = sorted(
        {
            grant.grantor
            for one in lists
            for grant in one.grants
            if one.writers and grant.grantor != one.owner
        }
    )
    # Before version 16 every member may act as the role.
    kind = "SET" if GRANTED_SET.there(connection) else "MEMBER"
    lacking = [
        grantor
        for grantor in grantors
        if connection.execute("SELECT pg_has_role(%s, %s)", (grantor, kind)).fetchone() != (True,)
    ]
    if lacking:
        raise Refused(
            "privileges were granted by roles that this one may not act as: it could take them "
            "away, but not put them back",
            details=lacking,
            hint="make the role that runs the cutover a member of these roles",
        )


def revoke_writes(connection: Connection, schema: str, lists: Iterable[AccessList]) -> None:
    """Take what allows to write, or to draw from a sequence, from everybody but the owners."""
    for one in lists:
        for grantee in dict.fromkeys(grant.grantee for grant in one.writers):
            words = sorted(
                {
                    name
                    for grant in one.writers
                    if grant.grantee == grantee
                    for name, _ in grant.privileges
                }
                & WRITES[one.kind]
            )
            connection.execute(_revoke(schema, one, words, grantee))


def grant_like(
    connection: Connection, schema: str, lists: Iterable[AccessList], owner: str
) -> None:
    """Grant, on the objects of the same names in a schema, what the lists say.

    Args:
        connection: of a role that acts as the owner.
        schema: of the objects.
        lists: of other objects; their owners get what they had, too.
        owner: of the objects; it needs nothing.
    """
    for one in lists:
        for grant in one.grants:
            if grant.grantee != owner:
                for statement in _grant(schema, one, grant):
                    connection.execute(statement)


def put_back(connection: Connection, schema: str, wanted: Sequence[AccessList]) -> None:
    """Make the privileges on a schema's objects what they were, in the order in which they were."""
    named = {one.name for one in wanted}
    # Columns second, and read anew: to revoke from a table is to revoke from its columns.
    for columns in (False, True):
        # Views only where they were kept.
        views = (one for one in view_access_lists(connection, schema) if one.name in named)
        current = {
            one.identity(schema): one
            for one in (*access_lists(connection, schema), *views)
            if (one.column is not None) is columns
        }
        lists = [one for one in wanted if (one.column is not None) is columns]
        for one in lists:
            now = current.pop(one.identity(schema), None)
            if now is None or now.grants != one.grants:
                _rewrite(connection, schema, one, now)
        if columns:
            for one in current.values():
                _rewrite(connection, schema, None, one)


def _rewrite(
    connection: Connection, schema: str, wanted: AccessList | None, current: AccessList | None
) -> None:
    if current is not None:
        for grantee in dict.fromkeys(grant.grantee for grant in current.grants):
            if not (wanted is not None and wanted.default and grantee == wanted.owner):
                connection.execute(_revoke(schema, current, ["ALL"], grantee))
    if wanted is None or wanted.default:
        return
    for grant in wanted.grants:
        other = grant.grantor != wanted.owner
        if other:
            connection.execute(f"SET LOCAL ROLE {ddl.quote(grant.grantor)}")
        for statement in _grant(schema, wanted, grant):
            connection.execute(statement)
        if other:
            connection.execute("RESET ROLE")


def _grant(schema: str, one: AccessList, grant: Grant) -> list[str]:
    found = []
    for grantable, suffix in ((False, ""), (True, " WITH GRANT OPTION")):
        words = [name for name, further in grant.privileges if further is grantable]
        if words:
            found.append(
                f"GRANT {_words(one, words)} ON {_object(schema, one)} "
                f"TO {_role(grant.grantee)}{suffix}"
            )
    return found


def _revoke(schema: str, one: AccessList, words: Sequence[str], grantee: str | None) -> str:
    return f"REVOKE {_words(one, words)} ON {_object(schema, one)} FROM {_role(grantee)} CASCADE"


def _words(one: AccessList, words: Sequence[str]) -> str:
    column = f" ({ddl.quote(one.column)})" if one.column is not None else ""
    return ", ".join(f"{word}{column}" for word in words)


def _object(schema: str, one: AccessList) -> str:
    if one.kind == "SCHEMA":
        return f"SCHEMA {ddl.quote(schema)}"
    return f"{one.kind} {ddl.quote(schema, one.name)}"


def _role(name: str | None) -> str:
    return "PUBLIC" if name is None else ddl.quote(name)
