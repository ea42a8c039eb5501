"""Views that group by a key group by its region too, and no others."""

from __future__ import annotations

import pytest

from toolkit.postgres.grouping import with_region

KEYS = {("r", "client"): ("id",), ("r", "order"): ("no", "line")}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'FROM ("r".client c JOIN "r".account a ON (a.x = c.id)) GROUP BY c.id',
            'FROM ("r".client c JOIN "r".account a ON (a.x = c.id)) GROUP BY c.id, c."region"',
        ),
        ("FROM r.client GROUP BY id HAVING x", 'FROM r.client GROUP BY id, "region" HAVING x'),
        (
            "FROM r.client GROUP BY client.id, x ORDER BY 1",
            'FROM r.client GROUP BY client.id, x, client."region" ORDER BY 1',
        ),
        (
            'FROM "r"."order" AS "O" GROUP BY "O".line, "O".no\nWITH NO DATA',
            'FROM "r"."order" AS "O" GROUP BY "O".line, "O".no, "O"."region"\nWITH NO DATA',
        ),
        (
            "FROM (SELECT 1 FROM r.client GROUP BY id) q GROUP BY id",
            'FROM (SELECT 1 FROM r.client GROUP BY id, "region") q GROUP BY id',
        ),
        (
            "FROM r.client c, r.client d GROUP BY c.id, d.id",
            'FROM r.client c, r.client d GROUP BY c.id, d.id, c."region", d."region"',
        ),
        (
            "FROM r.client GROUP BY id UNION ALL SELECT 1 FROM r.client GROUP BY id",
            'FROM r.client GROUP BY id, "region" UNION ALL SELECT 1 FROM r.client '
            'GROUP BY id, "region"',
        ),
    ],
)
def test_the_region_is_added(before: str, after: str) -> None:
    assert with_region(f"SELECT {before}", KEYS, "region") == f"SELECT {after}"


@pytest.mark.parametrize(
    "text",
    [
        "FROM r.client",
        "FROM r.client GROUP BY email",
        "FROM r.client GROUP BY id, region",
        "FROM r.client GROUP BY ROLLUP (id)",
        "FROM r.client GROUP BY (id + 1)",
        "FROM r.order o GROUP BY o.no",
        "FROM s.client GROUP BY id",
        "FROM r.account a JOIN r.client c ON true GROUP BY a.id",
        "FROM r.client UNION SELECT 1 FROM r.account GROUP BY id",
        "'FROM r.client GROUP BY id' FROM r.x GROUP BY id",
        "EXTRACT(year FROM r.client) GROUP BY",
    ],
)
def test_nothing_is_added(text: str) -> None:
    assert with_region(f"SELECT {text}", KEYS, "region") == f"SELECT {text}"
