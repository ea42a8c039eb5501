"""Alembic's environment: everything is in toolkit.postgres.environment."""

from pathlib import Path

from toolkit.postgres.environment import run

run(Path(__file__).resolve().parent / "../schemas/bank/regionkit.toml")
