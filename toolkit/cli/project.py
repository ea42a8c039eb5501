"""What the commands share: their common options, and the project that these name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import typer
from sqlalchemy import MetaData

from toolkit import config, extras, layout, placement
from toolkit.config import Configuration
from toolkit.errors import ConnectionFailed, Refused, UsageError
from toolkit.extras import Extra
from toolkit.lab import Lab, default_folder
from toolkit.layout import Layout
from toolkit.postgres import extras as source_extras
from toolkit.postgres import reflect, session
from toolkit.postgres.cutover import Entry, Journal, Names, State
from toolkit.postgres.reflect import Reflected
from toolkit.postgres.source import Source

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The project's configuration. Default: REGIONKIT_CONFIG, then ./regionkit.toml.",
        show_default=False,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before a destructive step.")]
NoInputOption = Annotated[
    bool, typer.Option("--no-input", help="Never ask: fail where an answer would be needed.")
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")]


class Backend(StrEnum):
    """Which layout a command works on."""

    postgres = "postgres"
    mongo = "mongo"
    all = "all"

    @property
    def names(self) -> tuple[Literal["postgres", "mongo"], ...]:
        """The backends that are meant."""
        if self is Backend.postgres:
            return ("postgres",)
        if self is Backend.mongo:
            return ("mongo",)
        return ("postgres", "mongo")


BackendOption = Annotated[Backend, typer.Option("--backend", help="The layout to work on.")]


@dataclass(frozen=True)
class Project:
    """One operator's project: the configuration, and the servers behind it.

    Attributes:
        configuration: the validated ``regionkit.toml``.
        lab: the lab to fall back on where no URL is given.
    """

    configuration: Configuration
    lab: Lab

    @cached_property
    def metadata(self) -> MetaData:
        """The logical schema: imported, or else read from the source."""
        if self.configuration.imports_metadata:
            return self.configuration.import_metadata()
        return self.reflected.metadata

    @property
    def notes(self) -> tuple[reflect.Note, ...]:
        """What the source has and the logical schema does not say; none where it is imported."""
        return () if self.configuration.imports_metadata else self.reflected.notes

    @cached_property
    def reflected(self) -> Reflected:
        """The logical schema as the source's catalogue has it, and what it cannot say."""
        default, *more = self.configuration.source_schemas
        actual = self.names.source
        with session.connect(self.url("source"), role="source") as connection:
            return reflect.read(connection, [actual, *more], actual, called=default)

    @cached_property
    def layout(self) -> Layout:
        """The decisions that follow from the schema and the configuration."""
        schema = self.configuration.source_schema
        root, statements = self.configuration.file.root.table, self.configuration.statements
        metadata = placement.with_owner_columns(
            self.metadata, root, statements, default_schema=schema
        )
        placed = placement.infer(metadata, root, statements, default_schema=schema)
        return layout.decide(
            metadata,
            self.configuration.topology,
            placed,
            default_schema=schema,
            unique=self.configuration.file.unique,
            as_string=self.configuration.file.columns,
            taken=extras.relation_names(self.extras),
        )

    @cached_property
    def extras(self) -> tuple[Extra, ...]:
        """What is beside the tables: from its file, or else read from the source."""
        if self.configuration.imports_metadata or self.configuration.file.source.extras:
            return extras.parse(self.configuration.extras_text())
        with session.connect(self.url("source"), role="source") as connection:
            default, *more = self.configuration.source_schemas
            found = source_extras.read(connection, [self.names.source, *more], called=default)
        return tuple(found)

    def url(self, role: Literal["source", "postgres", "mongo"]) -> str:
        """Return the URL of a role: the operator's own, or else the lab's.

        Raises:
            ConnectionFailed: neither is there.
        """
        given = self.configuration.url(role)
        if given is not None:
            return given
        server = "mongo" if role == "mongo" else "postgres"
        url = self.lab.url(server)
        if url is None:
            raise ConnectionFailed(
                f"there is no URL for the {role} server, and no lab is running",
                hint=f"set {self.configuration.url_variable(role)}, or run 'regionkit lab up'",
            )
        return url

    def is_lab(self, role: Literal["source", "postgres", "mongo"]) -> bool:
        """Return whether a role falls back on the lab."""
        return self.configuration.url(role) is None

    @cached_property
    def cutover(self) -> Entry | None:
        """The last cutover of the source, ``None`` if there was none.

        A source that does not answer has renamed nothing that could be reached: only what lies in
        its own database is renamed.
        """
        try:
            with session.connect(self.url("source"), role="source") as connection:
                return Journal(self.configuration.source_schema).last(connection)
        except ConnectionFailed:
            return None

    @property
    def names(self) -> Names:
        """The names that the source's schema and the layout's have now."""
        if self.cutover is not None:
            return self.cutover.names
        return Names(self.configuration.source_schema, self.configuration.target_schema)

    def require_before_cutover(self, command: str) -> None:
        """Refuse what makes sense only as long as the source is what counts.

        Raises:
            Refused: the source was cut over.
        """
        entry = self.cutover
        if entry is not None and entry.state is State.switched:
            raise Refused(
                f"{entry.source!r} was cut over to {entry.place}: '{command}' would work on "
                "what is frozen now",
                hint="'regionkit cutover --rollback' goes back, until the first write",
            )

    def source(self) -> Source:
        """Return the source, not yet opened."""
        return Source(self.url("source"), self.layout, self.configuration, self.names.source)


def open_project(path: Path | None, lab: Lab | None = None) -> Project:
    """Read the configuration and find the lab; bound the sessions that will be opened.

    Args:
        path: what ``--config`` says.
        lab: the lab to use; default the one of the current folder.
    """
    configuration = config.load(path)
    migrate = configuration.file.migrate
    session.limit(session.Limits(migrate.lock_timeout, migrate.statement_timeout))
    return Project(configuration, lab or Lab(default_folder(Path.cwd())))


def confirm(question: str, *, yes: bool, no_input: bool) -> None:
    """Ask before a destructive step.

    Raises:
        UsageError: the answer is no, or there is nobody to ask.
    """
    if yes:
        return
    if no_input or not typer.confirm(question, err=True):
        raise UsageError(f"not done: {question}", hint="pass --yes to answer yes")
