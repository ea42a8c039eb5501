"""From the name of a backend to the objects that know it: the one place that names them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

from toolkit.cli.project import Project
from toolkit.errors import ConnectionFailed, Refused, UsageError
from toolkit.journal import State
from toolkit.migrate.moving import Clients
from toolkit.migrate.target import Target
from toolkit.mongo import session as mongo_session
from toolkit.mongo.clients import MongoClients
from toolkit.mongo.runner import Runner
from toolkit.mongo.target import MongoTarget
from toolkit.plan import Plan
from toolkit.postgres import session as postgres_session
from toolkit.postgres.apply import Revisions
from toolkit.postgres.clients import PostgresClients
from toolkit.postgres.target import PostgresTarget

Name = Literal["postgres", "mongo"]


class History(Protocol):
    """The revisions of one backend."""

    @property
    def left_behind(self) -> Sequence[str]:
        """What ``upgrade`` left behind because the server refused it, with the reason."""
        ...

    def plan(self) -> Sequence[Plan]:
        """Return what ``upgrade`` would do; write nothing."""
        ...

    def plan_revert(self) -> Sequence[Plan]:
        """Return what ``revert`` would do; write nothing."""
        ...

    def upgrade(self) -> Sequence[str]:
        """Run what is pending; return it."""
        ...

    def revert(self) -> Sequence[str]:
        """Take everything back, the data with it; return it."""
        ...


class _MongoHistory:
    """The MongoDB runner under the names that the commands use."""

    #: A collection that is refused fails the migration.
    left_behind: Sequence[str] = ()

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def plan(self) -> Sequence[Plan]:
        return self._runner.plan("head")

    def plan_revert(self) -> Sequence[Plan]:
        return self._runner.plan("base")

    def upgrade(self) -> Sequence[str]:
        return self._runner.upgrade()

    def revert(self) -> Sequence[str]:
        return self._runner.downgrade(drop_data=True)


@contextmanager
def translated() -> Iterator[None]:
    """Let no driver's exception reach the operator."""
    with postgres_session.translated(), mongo_session.translated("MongoDB"):
        yield


@contextmanager
def history(project: Project, name: Name) -> Iterator[History]:
    """Open the revisions of a backend."""
    configuration = project.configuration
    server = configuration.topology.server(name)
    if name == "postgres":
        yield Revisions(
            configuration.sql_migrations,
            configuration.target_schema,
            project.url("postgres"),
            server,
        )
        return
    if not (configuration.nosql_migrations / "versions").is_dir():
        raise UsageError(
            f"there are no MongoDB migrations in {configuration.nosql_migrations}",
            hint="run 'regionkit generate' first",
        )
    with mongo_session.connect(project.url("mongo")) as session:
        mongo_session.require_transactions(
            session, configuration.file.target.mongo.allow_single_member
        )
        yield _MongoHistory(
            Runner(
                session,
                configuration.mongo_database,
                configuration.nosql_migrations,
                server=server,
            )
        )


def target(project: Project, name: Name) -> Target:
    """Return a backend as the target of a migration."""
    if name == "postgres":
        return PostgresTarget(
            project.url("postgres"),
            project.layout,
            project.configuration,
            lambda: project.extras,
            project.names.target,
        )
    return MongoTarget(project.url("mongo"), project.layout, project.configuration)


def clients(project: Project, name: Name) -> Clients:
    """Return the clients of a backend's layout."""
    if name == "postgres":
        return PostgresClients(
            project.url("postgres"), project.layout, project.configuration, project.names.target
        )
    return MongoClients(project.url("mongo"), project.layout, project.configuration)


def unready(project: Project, name: Name) -> str:
    """Return why the layout of a backend cannot be asked; empty if it can.

    A layout that holds a part of the rows is none: its answers would be wrong, and its speed too.
    """
    try:
        project.url(name)
    except ConnectionFailed as error:
        return error.message
    place = target(project, name)
    found = place.run()
    if found is None:
        try:
            place.require_applied()
        except Refused as error:
            return error.message
        return f"the layout is applied to {place.place}, but nothing was migrated into it"
    if found.state is not State.finished:
        return f"the migration into {place.place} is not finished"
    return ""
