"""From the name of a backend to the objects that know it: the one place that names them all."""

from __future__ import annotations

from typing import Literal, Protocol

from toolkit.cli.project import Project
from toolkit.errors import UsageError
from toolkit.migrate.target import Target
from toolkit.mongo.revisions import Runner
from toolkit.mongo.session import connect as connect_mongo
from toolkit.mongo.target import MongoTarget
from toolkit.plan import Plan
from toolkit.postgres.apply import Revisions
from toolkit.postgres.target import PostgresTarget

Name = Literal["postgres", "mongo"]


class History(Protocol):
    """The revisions of one backend."""

    def pending(self) -> list[str]:
        """Return the revisions that the target lacks."""
        ...

    def plan(self) -> list[Plan]:
        """Return what ``upgrade`` would do; write nothing."""
        ...

    def plan_revert(self) -> list[Plan]:
        """Return what ``revert`` would do; write nothing."""
        ...

    def upgrade(self) -> list[str]:
        """Run what is pending; return it."""
        ...

    def revert(self) -> list[str]:
        """Take everything back; return it."""
        ...


def target(project: Project, name: Name) -> Target:
    """Return a backend as the target of a migration."""
    if name == "postgres":
        return PostgresTarget(project.url("postgres"), project.layout, project.configuration)
    return MongoTarget(project.url("mongo"), project.layout, project.configuration)
