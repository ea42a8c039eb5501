"""Regions, where each one's server is, and the round trips between them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.errors import UsageError

#: What a region code may look like: it becomes part of table names, roles and file names.
REGION_CODE = re.compile(r"[a-z][a-z0-9_]{0,15}")


def check_region_code(code: str) -> str:
    """Return ``code`` unchanged.

    Raises:
        UsageError: the code is not of the allowed form.
    """
    if not REGION_CODE.fullmatch(code):
        raise UsageError(
            f"region code {code!r} is not allowed",
            hint="use a lower-case letter, then at most 15 of a-z, 0-9 and _ (for example 'eu')",
        )
    return code


@dataclass(frozen=True)
class Region:
    """One place where data can live.

    Attributes:
        code: the short code, as it stands in the region column.
        title: what people call it.
    """

    code: str
    title: str = ""

    def __post_init__(self) -> None:
        check_region_code(self.code)


@dataclass(frozen=True)
class Topology:
    """The regions and what lies between them.

    Attributes:
        regions: in the order of ``regionkit.toml``, which is the order of generated objects.
        round_trips: milliseconds between two regions, keyed by the pair of their codes.
    """

    regions: tuple[Region, ...]
    round_trips: Mapping[frozenset[str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        codes = self.codes
        if not codes:
            raise UsageError("no region is declared", hint="add a [regions] table")
        if len(set(codes)) != len(codes):
            raise UsageError("a region is declared twice", hint="give every region one entry")

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all regions."""
        return tuple(region.code for region in self.regions)

    def round_trip(self, one: str, other: str) -> float:
        """Return the milliseconds of a round trip from ``one`` to ``other``; 0 at home.

        Raises:
            UsageError: ``regionkit.toml`` does not say.
        """
        if one == other:
            return 0.0
        try:
            return self.round_trips[frozenset((one, other))]
        except KeyError:
            raise UsageError(
                f"no round trip is declared between {one!r} and {other!r}",
                hint=f'add {{ between = ["{one}", "{other}"], ms = ... }} to [[round_trip]]',
            ) from None

    def server(self, backend: str, region: str | None = None) -> str:
        """Return the name of the server of ``backend`` that holds ``region``.

        ``None`` asks for the home of link and global tables. Every region of a backend lives on
        one server, named like the backend, until a layout spreads them.
        """
        return backend
