"""Rows that cannot be moved, and the clients that they belong to."""

from __future__ import annotations

from toolkit.refusal import Offender, Refusal, clients


def test_a_refusal_names_ten_rows_and_counts_all() -> None:
    refusal = Refusal("t", "no region", tuple(Offender(str(n)) for n in range(12)))
    assert str(refusal) == "t: no region: 12 row(s): 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
    assert refusal.keys[-1] == "11"


def test_a_client_has_the_first_of_its_reasons() -> None:
    refusals = [
        Refusal("client", "no region", (Offender("1", ("1",)),)),
        Refusal("debit", "too many digits", (Offender("7", ("1",)), Offender("8", ("2",)))),
        Refusal("account", "belongs to no client", (Offender("9"),)),
    ]
    assert clients(refusals) == {("1",): "client: no region", ("2",): "debit: too many digits"}
