"""What the operator asked for, held against the catalogue: all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from sqlalchemy import MetaData, Table

from toolkit.config import Configuration
from toolkit.errors import Refused, UsageError
from toolkit.init import roots, rule
from toolkit.init.rule import Listed, Rule
from toolkit.init.seen import Request
from toolkit.placement import table_key
from toolkit.postgres.evidence import Relation, key_of


@dataclass
class Wrong:
    """Everything that is wrong with the input: named in one message, not one at a time.

    Attributes:
        usage: about the command line, and the operator's files.
        refused: about the source.
        blocked: whether something is wrong without which the rows cannot be asked.
    """

    usage: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    blocked: bool = False

    def block(self, *lines: str) -> None:
        """Add what has to be put right before the rows can be asked."""
        self.usage += lines
        self.blocked = self.blocked or bool(lines)

    def stop(self) -> None:
        """Raise if there is anything.

        Raises:
            UsageError: the command line or a file of the operator's is wrong.
            Refused: the source does not let itself be read.
        """
        found = [*self.usage, *self.refused]
        if not found:
            return
        message = "cannot look at the source as it was asked for; nothing was written"
        if self.usage:
            raise UsageError(
                message, details=found, hint="correct what is named and run the command again"
            )
        raise Refused(
            message,
            details=found,
            hint="docs/privileges.md names what the role needs: USAGE on the schemas and SELECT "
            "on the tables; or name fewer schemas with --schema",
        )


class Asked:
    """Resolves what was asked for; what is wrong is collected in ``wrong``.

    Args:
        request: what the operator asks for.
        existing: the project's configuration, where there is one.
        wrong: where to put what is wrong.
    """

    def __init__(self, request: Request, existing: Configuration | None, wrong: Wrong) -> None:
        self._request = request
        self._existing = existing
        self._wrong = wrong

    # Schemas and root ------------------------------------------------------------------------

    def schemas(self, every: Sequence[Relation], all_schemas: Collection[str]) -> tuple[str, ...]:
        """Return the schemas to read.

        Args:
            every: every table.
            all_schemas: the database's schemas, those without a table too.

        Raises:
            UsageError: the database holds no table.
        """
        known = list(dict.fromkeys(one.schema for one in every))
        if not known:
            raise UsageError(
                "the source holds no table of its own",
                hint="name the right database in --source",
            )
        wanted = self._request.schemas or (
            self._existing.source_schemas if self._existing is not None else ()
        )
        if not wanted:
            return tuple(known)
        if self._existing is not None and set(wanted) != set(self._existing.source_schemas):
            self._wrong.block(
                f"--schema: {self._existing.path.name} says otherwise; edit schema and schemas in "
                "[source] there"
            )
        for name in wanted:
            if name not in all_schemas:
                near = get_close_matches(name, known, n=3, cutoff=0.4) or known[:8]
                self._wrong.usage.append(
                    f"--schema {name}: there is none (near: {', '.join(near)})"
                )
        return tuple(dict.fromkeys(name for name in wanted if name in all_schemas)) or tuple(known)

    def root(self, relations: Sequence[Relation]) -> Relation | None:
        """Return the table of the clients; ``None`` where none was named, or it does not exist."""
        given = self._request.root
        if self._existing is not None:
            named = self._existing.file.root.table
            default = self._existing.source_schema
            if given not in (None, named, f"{default}.{named}"):
                self._wrong.block(
                    f"--root {given}: {self._existing.path.name} says {named!r}; edit [root] there"
                )
            mine = [one for one in relations if key_of(one, default) == named]
            if mine:
                return mine[0]
            given = named
        if given is None:
            return None
        found = [one for one in relations if given in (one.name, f"{one.schema}.{one.name}")]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f"{one.schema}.{one.name}" for one in found)
            self._wrong.block(f"--root {given}: there are several: {names}")
            return None
        known = {one.name.lower(): one for one in relations} | {
            f"{one.schema}.{one.name}".lower(): one for one in relations
        }
        near = get_close_matches(given.lower(), known, n=5, cutoff=0.5)
        shown = list(dict.fromkeys(f"{known[name].schema}.{known[name].name}" for name in near))
        self._wrong.block(
            f"--root {given}: there is no such table"
            + (f" (near: {', '.join(shown)})" if shown else "")
        )
        return None

    def ordered(self, chosen: Sequence[str], root: Relation | None) -> tuple[str, tuple[str, ...]]:
        """Return the default schema, and all of them with it in front."""
        if self._existing is not None:
            default = self._existing.source_schema
        elif root is not None:
            default = root.schema
        else:
            default = "public" if "public" in chosen else chosen[0]
        return default, (default, *(name for name in chosen if name != default))

    def proposals(
        self, metadata: MetaData, relations: Mapping[str, Relation], default: str
    ) -> UsageError:
        """Return the error that says which tables could be the root."""
        rows = {key: one.rows for key, one in relations.items()}
        found = roots.propose(metadata, rows, default)
        if not found:
            return UsageError(
                "no table of the source has a primary key, so none can be the root",
                hint="give the table of the clients a primary key",
            )
        first = found[0]
        place = first.region_paths[0] if first.region_paths else "COLUMN"
        return UsageError(
            "which table holds the clients? Likely ones, the likeliest first",
            details=[f"{one.table}: {'; '.join(one.reasons)}" for one in found],
            hint=f"for example: regionkit init --root {first.table} --region-by {place} "
            "--map FILE.csv (value,region), with the same --source",
        )

    def check_readable(self, relations: Mapping[str, Relation]) -> None:
        """Name every table that this role cannot read, or not all of."""
        self._wrong.refused += [
            f"{key}: this role may not read it"
            for key, one in relations.items()
            if not one.readable
        ]
        self._wrong.refused += [
            f"{key}: row-level security hides rows of it from this role"
            for key, one in relations.items()
            if one.readable and one.filtered
        ]

    # The rule --------------------------------------------------------------------------------

    def rule(self, metadata: MetaData, root: str, default: str) -> tuple[Rule, frozenset[str]]:
        """Return the rule of the root, and the tables that it leads over."""
        tables = {table_key(table, default): table for table in metadata.tables.values()}
        if not list(tables[root].primary_key.columns):
            self._wrong.block(
                f"--root {root}: it has no primary key, so its rows cannot be told apart"
            )
        how = (
            self._existing_rule(self._existing, tables[root])
            if self._existing is not None
            else self._given_rule(tables, root, default)
        )
        if how.column is None:
            if self._request.map_file is not None and self._existing is None:
                self._wrong.usage.append("--map goes with --region-by")
            return how, frozenset()
        problems, reference = rule.path_problems(metadata, root, how.column, default)
        self._wrong.block(*(f"--region-by {one}" for one in problems))
        return how, reference

    def _given_rule(self, tables: Mapping[str, Table], root: str, default: str) -> Rule:
        request = self._request
        given = [
            name
            for name, value in (
                ("--region-by", request.region_by),
                ("--region-sql", request.region_sql),
                ("--clients", request.clients_file),
            )
            if value is not None
        ]
        if len(given) != 1:
            places = roots.region_paths(tables, root, default)[:5]
            self._wrong.block(
                f"--root {root}: say how a client's region follows, by exactly one of "
                "--region-by, --region-sql and --clients"
                + (f", not {' and '.join(given)}" if given else "")
                + (f"; it could be {', '.join(places)}" if places and not given else "")
            )
        return Rule(
            column=request.region_by,
            map_file=self.csv(request.map_file, 2, ("value", "region")),
            sql=request.region_sql,
            clients=self._clients(request.clients_file, tables[root]),
        )

    def _existing_rule(self, existing: Configuration, table: Table) -> Rule:
        """Return the rule of the project, with a newer map or list where one is given."""
        section, request = existing.file.root.region, self._request
        for option, mine, theirs in (
            ("--region-by", request.region_by, section.column),
            ("--region-sql", request.region_sql, section.sql),
        ):
            if mine is not None and mine != theirs:
                self._wrong.usage.append(
                    f"{option}: {existing.path.name} says otherwise; edit [root.region] there"
                )
        map_file = request.map_file or (
            existing.folder / section.map_file if section.map_file else None
        )
        clients = request.clients_file or (
            existing.folder / section.clients if section.clients else None
        )
        return Rule(
            column=section.column,
            map_file=self.csv(map_file, 2, ("value", "region")) if section.column else None,
            sql=section.sql,
            clients=self._clients(clients, table) if section.clients else None,
            default=section.default,
            mapping=section.map or {},
        )

    def csv(self, path: Path | None, columns: int, names: Sequence[str]) -> Listed | None:
        """Read a file of the operator's, where one is named."""
        if path is None:
            return None
        try:
            listed, mistakes = rule.read_csv(path, columns, names)
        except UsageError as error:
            self._wrong.usage.append(error.message)
            return None
        self._wrong.usage += mistakes
        return listed

    def _clients(self, path: Path | None, table: Table) -> Listed | None:
        columns = [column.name for column in table.primary_key.columns]
        before = len(self._wrong.usage)
        listed = self.csv(path, len(columns) + 1, (*columns, "region"))
        if listed is not None and listed.added:
            self._wrong.usage.append(
                f"{listed.path.name}: put a line with the names of the columns on top"
            )
        # A list that is wrong cannot be asked with.
        self._wrong.blocked = self._wrong.blocked or len(self._wrong.usage) > before
        return listed
