"""Looking at a source: read only, in one snapshot, from its catalogue to what its rows say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table

from toolkit.config import Configuration, File
from toolkit.errors import Refused, RegionkitError, UsageError
from toolkit.extras import Extra
from toolkit.init import outcome, reading, roots, rule, statements
from toolkit.init.ownership import Decisions
from toolkit.init.proposals import best, guesses
from toolkit.init.rule import Listed, Rule
from toolkit.init.seen import Decision, Note, Request, Seen, Stated
from toolkit.init.survey import Survey
from toolkit.layout import Layout
from toolkit.placement import Kind, Statement, foreign_keys, table_key
from toolkit.postgres import evidence
from toolkit.postgres.evidence import Evidence, Relation
from toolkit.postgres.session import Connection
from toolkit.topology import Region, Topology

#: Values and tables that a message names; a file of the project holds all of them.
_MOST = 100


@dataclass
class _Wrong:
    """Everything that is wrong with the input: named in one message, not one at a time."""

    usage: list[str]
    refused: list[str]

    def stop(self, hint: str) -> None:
        """Raise if there is anything.

        Raises:
            UsageError: the command line or a file of the operator's is wrong.
            Refused: the source does not let itself be read.
        """
        if not self.usage and not self.refused:
            return
        count = len(self.usage) + len(self.refused)
        error = UsageError if self.usage else Refused
        raise error(
            f"{count} thing(s) are in the way of looking at the source; nothing was written",
            details=[*self.usage, *self.refused],
            hint=hint,
        )


def look(
    request: Request,
    existing: Configuration | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Seen:
    """Look at a source.

    Args:
        request: what the operator asks for.
        existing: the project's configuration, where there is one: what it says stays so.
        progress: called with what is being looked at.

    Raises:
        UsageError: what was asked for does not exist, or no root was named: the message proposes
            some.
        Refused: a table cannot be read.
    """
    with evidence.looking(request.url) as connection:
        return _Look(connection, request, existing, progress).seen()


class _Look:
    """One look at one source."""

    def __init__(
        self,
        connection: Connection,
        request: Request,
        existing: Configuration | None,
        progress: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._request = request
        self._existing = existing
        self._progress = progress
        self._wrong = _Wrong([], [])

    def seen(self) -> Seen:
        """Go through all of it."""
        self._progress("the catalogue")
        every = evidence.relations(self._connection)
        chosen = self._schemas(every)
        root = self._root([one for one in every if one.schema in chosen])
        default, schemas = self._ordered(chosen, root)
        relations = evidence.names_of([one for one in every if one.schema in schemas], default)
        metadata, notes = reading.read_schema(self._connection, schemas, default)
        extras = reading.read_extras(self._connection, schemas)
        if root is None:
            self._wrong.stop("correct the command line")
            raise self._no_root(metadata, relations, default)
        key = root.name if root.schema == default else f"{root.schema}.{root.name}"
        self._check_tables(metadata, key, relations, default)
        how, reference = self._rule(metadata, key, relations, default)
        self._stop_if_wrong()
        return self._survey(
            _Source(
                self._connection.info.dbname,
                default,
                schemas,
                tuple(sorted(self._every_schema())),
                key,
                metadata,
                tuple(extras),
                tuple(notes),
                relations,
            ),
            how,
            reference,
        )

    def _stop_if_wrong(self) -> None:
        self._wrong.stop(
            "correct what is named and run the command again"
            if self._wrong.usage
            else "docs/privileges.md names what the role needs: USAGE on the schemas and SELECT on "
            "the tables"
        )

    # Schemas and root ------------------------------------------------------------------------

    def _every_schema(self) -> set[str]:
        rows = self._connection.execute("SELECT nspname FROM pg_namespace").fetchall()
        return {str(name) for (name,) in rows}

    def _schemas(self, every: Sequence[Relation]) -> tuple[str, ...]:
        known = list(dict.fromkeys(one.schema for one in every))
        if not known:
            raise UsageError(
                "the source holds no table of its own",
                hint="name the right database in --source; a schema without USAGE is not seen",
            )
        wanted = self._request.schemas or (
            self._existing.source_schemas if self._existing is not None else ()
        )
        if not wanted:
            return tuple(known)
        for name in wanted:
            if name not in known:
                near = get_close_matches(name, known, n=3, cutoff=0.4) or known[:8]
                self._wrong.usage.append(
                    f"schema {name!r} holds no table (near: {', '.join(near)})"
                )
        found = tuple(dict.fromkeys(name for name in wanted if name in known))
        return found or tuple(known)

    def _root(self, relations: Sequence[Relation]) -> Relation | None:
        given = self._request.root
        if given is None and self._existing is not None:
            given = self._existing.file.root.table
            schema = self._existing.source_schema
            given = given if "." in given else f"{schema}.{given}"
        if given is None:
            return None
        found = [one for one in relations if given in (one.name, f"{one.schema}.{one.name}")]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f"{one.schema}.{one.name}" for one in found)
            self._wrong.usage.append(f"--root {given}: there are several: {names}")
            return None
        known = {one.name.lower(): one for one in relations} | {
            f"{one.schema}.{one.name}".lower(): one for one in relations
        }
        near = get_close_matches(given.lower(), known, n=5, cutoff=0.5)
        shown = list(dict.fromkeys(f"{known[name].schema}.{known[name].name}" for name in near))
        self._wrong.usage.append(
            f"--root {given}: there is no such table"
            + (f" (near: {', '.join(shown)})" if shown else "")
        )
        return None

    def _ordered(self, chosen: Sequence[str], root: Relation | None) -> tuple[str, tuple[str, ...]]:
        """Return the default schema, and all of them with it in front."""
        if self._existing is not None:
            default = self._existing.source_schema
        elif root is not None:
            default = root.schema
        else:
            default = "public" if "public" in chosen else chosen[0]
        return default, (default, *(name for name in chosen if name != default))

    def _no_root(
        self, metadata: MetaData, relations: Mapping[str, Relation], default: str
    ) -> UsageError:
        """Return the error that proposes roots."""
        rows = {key: one.rows for key, one in relations.items()}
        proposals = roots.propose(metadata, rows, default)
        if not proposals:
            return UsageError(
                "no table of the source has a primary key, so none can be the root",
                hint="give the table of the clients a primary key",
            )
        first = proposals[0]
        places = first.region_columns or ("COLUMN",)
        return UsageError(
            "which table holds the clients? Likely ones, the likeliest first",
            details=[f"{one.table}: {'; '.join(one.reasons)}" for one in proposals],
            hint=f"for example: regionkit init --root {first.table} --region-by {places[0]} "
            "--map FILE.csv (value,region), with the same --source",
        )

    def _check_tables(
        self,
        metadata: MetaData,
        root: str,
        relations: Mapping[str, Relation],
        default: str,
    ) -> None:
        tables = _tables(metadata, default)
        if root in tables and not list(tables[root].primary_key.columns):
            self._wrong.usage.append(
                f"--root {root}: it has no primary key, so its rows cannot be told apart"
            )
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

    def _rule(
        self,
        metadata: MetaData,
        root: str,
        relations: Mapping[str, Relation],
        default: str,
    ) -> tuple[Rule, frozenset[str]]:
        """Return the rule of the root, and the tables that it leads over."""
        request = self._request
        table = _tables(metadata, default)[root]
        if self._existing is not None:
            how = self._existing_rule(self._existing, table)
        else:
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
                self._wrong.usage.append(
                    f"--root {root}: say how a client's region follows, by exactly one of "
                    "--region-by, --region-sql and --clients"
                    + (f", not {' and '.join(given)}" if given else _places(table))
                )
                return Rule(), frozenset()
            how = Rule(
                column=request.region_by,
                map_file=self._csv(request.map_file, 2, ("value", "region")),
                sql=request.region_sql,
                clients=self._clients(request.clients_file, table),
            )
        reference: frozenset[str] = frozenset()
        if how.column is not None:
            problems, reference = rule.path_problems(metadata, root, how.column, default)
            self._wrong.usage += [f"--region-by {one}" for one in problems]
            if not problems and not how.regions and not self._wrong.usage:
                self._wrong.usage += self._missing_map(metadata, root, how, default)
        elif self._request.map_file is not None and self._existing is None:
            self._wrong.usage.append("--map goes with --region-by")
        return how, reference

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
            map_file=self._csv(map_file, 2, ("value", "region")) if section.column else None,
            sql=section.sql,
            clients=self._clients(clients, table) if section.clients else None,
            default=section.default,
            mapping=section.map or {},
        )

    def _csv(self, path: Path | None, columns: int, names: Sequence[str]) -> Listed | None:
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
        listed = self._csv(path, len(columns) + 1, (*columns, "region"))
        if listed is not None and listed.added:
            self._wrong.usage.append(
                f"{listed.path.name}: put a line with the names of the columns on top"
            )
        return listed

    def _missing_map(self, metadata: MetaData, root: str, how: Rule, default: str) -> list[str]:
        """Say which values a map would have to hold."""
        if self._wrong.refused:
            return ["--region-by needs --map FILE.csv: two columns, value and region"]
        asking = self._asker(metadata, root, how, Topology((Region("unknown"),)), default, ())
        values = asking(_bare_layout(metadata, root, default)).unmapped()
        shown = [f"{_shown(value)} ({count:,})" for value, count in values.items()][:_MOST]
        more = f" and {len(values) - len(shown)} more" if len(values) > len(shown) else ""
        return [
            "--region-by needs --map FILE.csv: two columns, value and region. The values are "
            f"{', '.join(shown)}{more}"
        ]

    # The data --------------------------------------------------------------------------------

    def _asker(
        self,
        metadata: MetaData,
        root: str,
        how: Rule,
        topology: Topology,
        default: str,
        schemas: Sequence[str],
    ) -> Callable[[Layout], Evidence]:
        raw: dict[str, Any] = {
            "source": {"schema": default, "schemas": list(schemas)},
            "root": {"table": root, "region": how.section()},
            "regions": {code: {} for code in topology.codes},
        }
        project = Configuration(
            (self._request.folder / "regionkit.toml").resolve(), File.model_validate(raw), {}
        )
        return lambda layout: Evidence(self._connection, layout, project)

    def _survey(self, source: _Source, how: Rule, reference: frozenset[str]) -> Seen:
        metadata, default = source.metadata, source.default
        topology = Topology((Region("unknown"),))
        bare = _bare_layout(metadata, source.root, default)
        problems: list[Decision] = []
        if how.sql is not None:
            asking = self._asker(metadata, source.root, how, topology, default, source.schemas)(
                bare
            )
            asking.check_rule()
            codes, problems = outcome.of_expression(asking.ruled())
        else:
            codes = how.regions
        declared = self._existing.topology.codes if self._existing is not None else ()
        if not (codes := tuple(dict.fromkeys([*declared, *codes]))):
            raise Refused(
                "the rule gives no client a region",
                details=[one.question for one in problems],
                hint="correct the expression or the list",
            )
        topology = Topology(tuple(map(Region, codes)))
        ask = self._asker(metadata, source.root, how, topology, default, source.schemas)
        asking = ask(bare)
        homeless = self._homeless(asking, how)
        stated = self._stated(source, metadata)
        survey = Survey(
            metadata,
            source.root,
            stated,
            default_schema=default,
            topology=topology,
            reference=reference,
            asking=ask,
            progress=self._progress,
        )
        decisions = survey.decide()
        islands, questions = self._islands(source, decisions, stated, ask(bare))
        concluded = [*statements.concluded(decisions, stated), *islands]
        seen = Seen(
            database=source.database,
            default_schema=default,
            schemas=source.schemas,
            taken_schemas=source.taken,
            root=source.root,
            rule=how,
            topology=topology,
            metadata=metadata,
            extras=source.extras,
            decisions=decisions,
            stated=tuple(concluded),
            bytes={key: one.bytes for key, one in source.relations.items()},
            open=(
                *problems,
                *outcome.of_rule(how, source.root, homeless.values, homeless.clients),
                *statements.rivalries(decisions),
                *questions,
                *statements.contradictions(decisions, stated, topology.codes[0]),
            ),
            notes=source.notes,
            homeless=homeless.keys,
            unmapped=homeless.values,
        )
        said = {**stated, **{one.table: one.statement for one in concluded}}
        unique = self._existing.file.unique if self._existing is not None else {}
        return outcome.laid_out(seen, said, unique)

    def _stated(self, source: _Source, metadata: MetaData) -> dict[str, Statement]:
        """Return what the operator has stated of tables that are still there."""
        if self._existing is None:
            return {}
        tables = _tables(metadata, source.default)
        return {key: said for key, said in self._existing.statements.items() if key in tables}

    def _homeless(self, asking: Evidence, how: Rule) -> _Homeless:
        values: dict[str | None, int] = {}
        if how.column is not None:
            values = asking.unmapped()
            clients = sum(values.values())
        else:
            clients = asking.ruled().get(None, 0)
        return _Homeless(values, clients, tuple(asking.homeless()) if clients else ())

    def _islands(
        self,
        source: _Source,
        decisions: Decisions,
        stated: Mapping[str, Statement],
        asking: Evidence,
    ) -> tuple[list[Stated], list[Decision]]:
        """Return what becomes of the tables that nothing connects with the root."""
        placement = decisions.placement
        alone = [key for key in placement.of_kind(Kind.undecided) if key not in stated]
        if not alone:
            return [], []
        tables = _tables(source.metadata, source.default)
        keys = {key: foreign_keys(table, source.default) for key, table in tables.items()}
        declares = any(keys.values())
        targets = list(placement.regional)
        proposals = {key: list[Any]() for key in alone}
        asked: dict[str, set[tuple[str, str]]] = {key: set() for key in alone}
        # A table that could follow the clients could itself be followed.
        while True:
            grown = False
            for key in alone:
                wanted = [
                    guess
                    for guess in guesses(key, tables, targets, by_data=not declares)
                    if (guess.column, guess.target) not in asked[key]
                ]
                asked[key] |= {(guess.column, guess.target) for guess in wanted}
                if not wanted:
                    continue
                self._progress(key)
                found = asking.contained(
                    key, [(guess.column, guess.target, guess.target_column) for guess in wanted]
                )
                new = best(wanted, found)
                if new and not proposals[key] and key not in targets:
                    targets.append(key)
                    grown = True
                proposals[key] += new
            if not grown:
                break
        if not declares:
            return [], [
                statements.unconnected(source.root, key, proposals[key][:3], declares=False)
                for key in alone
            ]
        islands: list[Stated] = []
        questions: list[Decision] = []
        for island in _components(alone, keys):
            asked_of = [key for key in island if proposals[key]]
            if not asked_of:
                islands += [statements.isolated(source.root, key) for key in island]
            questions += [
                statements.unconnected(source.root, key, proposals[key][:3], declares=True)
                for key in asked_of
            ]
        return islands, questions


@dataclass(frozen=True)
class _Source:
    """What the catalogue says."""

    database: str
    default: str
    schemas: tuple[str, ...]
    taken: tuple[str, ...]
    root: str
    metadata: MetaData
    extras: tuple[Extra, ...]
    notes: tuple[Note, ...]
    relations: Mapping[str, Relation]


@dataclass(frozen=True)
class _Homeless:
    """Clients that the rule gives no region."""

    values: Mapping[str | None, int]
    clients: int
    keys: tuple[tuple[str, ...], ...]


def _bare_layout(metadata: MetaData, root: str, default: str) -> Layout:
    """Return a layout in which only the root is known: enough to ask the rule and the tables."""
    survey = Survey(
        metadata,
        root,
        {},
        default_schema=default,
        topology=Topology((Region("unknown"),)),
        asking=lambda _: _nobody(),
    )
    return survey.bare_layout()


def _nobody() -> Any:
    raise RegionkitError("nothing is to be asked yet")


def _components(alone: Sequence[str], keys: Mapping[str, Sequence[Any]]) -> Iterable[list[str]]:
    """Yield the tables that foreign keys connect with each other, together."""
    left = set(alone)
    neighbours: dict[str, set[str]] = {key: set() for key in alone}
    for key in alone:
        for one in keys[key]:
            if one.target in left:
                neighbours[key].add(one.target)
                neighbours[one.target].add(key)
    for key in alone:
        if key not in left:
            continue
        island, queue = [], [key]
        left.discard(key)
        while queue:
            at = queue.pop()
            island.append(at)
            found = neighbours[at] & left
            left -= found
            queue += sorted(found)
        yield sorted(island)


def _tables(metadata: MetaData, default: str) -> dict[str, Table]:
    return {table_key(table, default): table for table in metadata.tables.values()}


def _places(table: Table) -> str:
    found = roots.region_like(table)
    return f"; it has {', '.join(found)}" if found else ""


def _shown(value: str | None) -> str:
    return "NULL" if value is None else repr(value)
