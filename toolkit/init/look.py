"""Looking at a source: read only, in one snapshot, from its catalogue to what its rows say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import MetaData, Table

from toolkit.config import Configuration, File
from toolkit.extras import Extra
from toolkit.init import outcome, reading, statements
from toolkit.init.asked import Asked, Wrong
from toolkit.init.ownership import Decisions
from toolkit.init.proposals import OwnerProposal, best, guesses
from toolkit.init.rule import Rule
from toolkit.init.seen import Decision, Note, Request, Seen, Stated
from toolkit.init.survey import Survey, bare_layout, skeleton
from toolkit.layout import Layout
from toolkit.placement import ForeignKey, Kind, Statement, foreign_keys, table_key
from toolkit.postgres import evidence
from toolkit.postgres.evidence import Evidence, Relation
from toolkit.postgres.session import Connection
from toolkit.topology import Region, Topology
from toolkit.types import user_types

#: What stands for the regions until they are known.
_UNKNOWN = Topology((Region("unknown"),))

#: Values that a message names.
_MOST = 100


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


@dataclass(frozen=True)
class _Source:
    """What the catalogue says; ``bare`` is the schema without what the rows are not asked for."""

    database: str
    default: str
    schemas: tuple[str, ...]
    taken: tuple[str, ...]
    root: str
    metadata: MetaData
    bare: MetaData
    extras: tuple[Extra, ...]
    notes: tuple[Note, ...]
    relations: Mapping[str, Relation]

    @property
    def tables(self) -> dict[str, Table]:
        """The tables by key."""
        return {table_key(table, self.default): table for table in self.metadata.tables.values()}


def _of_types(
    metadata: MetaData, schemas: Sequence[str], with_tables: Collection[str]
) -> tuple[str, ...]:
    """Return the schemas that hold no table, but a type of some column."""
    found = {
        schema
        for table in metadata.tables.values()
        for column in table.columns
        for schema, _ in user_types(column.type)
        if schema is not None
    }
    return tuple(sorted(found - {*schemas, *with_tables}))


@dataclass(frozen=True)
class _Ruled:
    """What the rule gives.

    Attributes:
        topology: the regions.
        values: those that the map misses, with their clients.
        clients: without a region.
        open: what has to be decided or mended about it.
        notes: what else there is to say.
    """

    topology: Topology
    values: Mapping[str | None, int]
    clients: int
    open: tuple[Decision, ...]
    notes: tuple[Note, ...]


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
        self._wrong = Wrong()
        self._asked = Asked(request, existing, self._wrong)

    def seen(self) -> Seen:
        """Go through all of it; name all that is wrong at once."""
        self._progress("the catalogue")
        asked, wrong = self._asked, self._wrong
        every = evidence.relations(self._connection)
        all_schemas = self._every_schema()
        chosen = asked.schemas(every, all_schemas)
        root = asked.root([one for one in every if one.schema in chosen])
        default, schemas = asked.ordered(chosen, root)
        relations = evidence.names_of([one for one in every if one.schema in schemas], default)
        metadata, notes = reading.read_schema(self._connection, schemas, default)
        schemas += _of_types(metadata, schemas, {one.schema for one in every})
        asked.check_readable(relations)
        if root is None:
            if wrong.blocked:
                asked.csv(self._request.map_file, 2, ("value", "region"))
                wrong.stop()
            raise asked.proposals(metadata, relations, default)
        source = _Source(
            self._connection.info.dbname,
            default,
            schemas,
            tuple(sorted(all_schemas)),
            evidence.key_of(root, default),
            metadata,
            skeleton(metadata),
            tuple(reading.read_extras(self._connection, schemas)),
            (*_unread(every, schemas), *notes),
            relations,
        )
        how, reference = asked.rule(metadata, source.root, default)
        if wrong.blocked or not self._readable({source.root, *reference}, relations):
            wrong.stop()
        ruled = self._ruled(source, how)
        if wrong.refused:
            wrong.refused += [f"{one.subject}: {one.question}" for one in ruled.open]
            wrong.stop()
        found = self._survey(source, how, reference, ruled)
        if wrong.usage:
            # A file with a wrong line: all that the rest of it leaves open is named with it.
            wrong.usage += [f"{one.subject}: {one.question}" for one in found.open]
            wrong.stop()
        return found

    def _every_schema(self) -> set[str]:
        rows = self._connection.execute("SELECT nspname FROM pg_namespace").fetchall()
        return {str(name) for (name,) in rows}

    def _readable(self, keys: Iterable[str], relations: Mapping[str, Relation]) -> bool:
        return all(relations[key].readable and not relations[key].filtered for key in keys)

    # The rule --------------------------------------------------------------------------------

    def _ruled(self, source: _Source, how: Rule) -> _Ruled:
        """Ask what the rule gives."""
        bare = bare_layout(source.bare, source.root, source.default)
        asking = self._asker(source, how, _UNKNOWN)(bare)
        declared = self._existing.topology.codes if self._existing is not None else ()
        problems: list[Decision] = []
        notes: list[Note] = []
        values: dict[str | None, int] = {}
        codes = how.regions
        if how.column is not None:
            values = asking.unmapped()
            clients = sum(values.values())
            if not codes:
                self._name_values(values)
        else:
            if how.sql is not None:
                asking.check_rule()
            given = asking.ruled()
            clients = given.get(None, 0)
            if how.sql is not None:
                codes, problems = outcome.of_expression(given)
        if how.clients is not None and (strangers := asking.strangers()):
            notes.append(
                Note(how.clients.path.name, f"{strangers:,} line(s) name no row of {source.root}")
            )
        codes = tuple(dict.fromkeys([*declared, *codes]))
        problems += outcome.of_rule(how, source.root, values, clients)
        if not codes:
            self._wrong.refused += [f"{one.subject}: {one.question}" for one in problems]
            self._wrong.refused.append("the rule gives no client a region")
            self._wrong.stop()
        return _Ruled(
            Topology(tuple(map(Region, codes))), values, clients, tuple(problems), tuple(notes)
        )

    def _name_values(self, values: Mapping[str | None, int]) -> None:
        """Say which values a map would have to hold."""
        shown = [
            f"{'NULL' if value is None else repr(value)} ({count:,})"
            for value, count in values.items()
        ]
        more = f" and {len(shown) - _MOST:,} more" if len(shown) > _MOST else ""
        self._wrong.block(
            "--region-by needs --map FILE.csv: two columns, value and region. The values are, with "
            f"their clients, {', '.join(shown[:_MOST])}{more}"
        )
        self._wrong.stop()

    def _asker(
        self, source: _Source, how: Rule, topology: Topology
    ) -> Callable[[Layout], Evidence]:
        raw: dict[str, Any] = {
            "source": {"schema": source.default, "schemas": list(source.schemas)},
            "root": {"table": source.root, "region": how.section()},
            "regions": {code: {} for code in dict.fromkeys([*topology.codes, *how.regions])},
        }
        project = Configuration(
            (self._request.folder / "regionkit.toml").resolve(), File.model_validate(raw), {}
        )
        return lambda layout: Evidence(self._connection, layout, project)

    # The rows --------------------------------------------------------------------------------

    def _survey(self, source: _Source, how: Rule, reference: frozenset[str], ruled: _Ruled) -> Seen:
        ask = self._asker(source, how, ruled.topology)
        asking = ask(bare_layout(source.bare, source.root, source.default))
        stated = self._stated(source)
        survey = Survey(
            source.metadata,
            source.bare,
            source.root,
            stated,
            default_schema=source.default,
            topology=ruled.topology,
            reference=reference,
            asking=ask,
            progress=self._progress,
        )
        decisions = survey.decide()
        islands, questions = self._islands(source, decisions, stated, asking)
        doubtful = statements.used_by_others(decisions, stated, source.tables)
        concluded = [*statements.concluded(decisions, stated, doubtful), *islands]
        seen = Seen(
            database=source.database,
            default_schema=source.default,
            schemas=source.schemas,
            taken_schemas=source.taken,
            root=source.root,
            rule=how,
            topology=ruled.topology,
            metadata=source.metadata,
            extras=source.extras,
            decisions=decisions,
            stated=tuple(concluded),
            bytes={key: one.bytes for key, one in source.relations.items()},
            open=(
                *ruled.open,
                *statements.rivalries(decisions, doubtful),
                *statements.doubts(decisions, doubtful),
                *questions,
                *statements.contradictions(decisions, stated, ruled.topology.codes[0]),
            ),
            notes=(*ruled.notes, *source.notes),
            homeless=tuple(asking.homeless()) if ruled.clients else (),
            unmapped=ruled.values,
        )
        said = {**stated, **{one.table: one.statement for one in concluded}}
        self._progress("the layouts")
        return outcome.laid_out(seen, said, self._existing)

    def _stated(self, source: _Source) -> dict[str, Statement]:
        """Return what the operator has stated of tables that are still there."""
        if self._existing is None:
            return {}
        tables = source.tables
        return {key: said for key, said in self._existing.statements.items() if key in tables}

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
        tables = source.tables
        keys = {key: foreign_keys(table, source.default) for key, table in tables.items()}
        declares = any(keys.values())
        targets = list(placement.regional)
        proposals = {key: list[OwnerProposal]() for key in alone}
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


def _unread(every: Sequence[Relation], schemas: Sequence[str]) -> list[Note]:
    """Say which schemas hold tables that were not asked for."""
    others = Counter(one.schema for one in every if one.schema not in schemas)
    return [
        Note(
            f"schema {name}",
            f"its {count} table(s) were not read; --schema, or schemas in [source], names it",
        )
        for name, count in sorted(others.items())
    ]


def _components(
    alone: Sequence[str], keys: Mapping[str, Sequence[ForeignKey]]
) -> Iterable[list[str]]:
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
