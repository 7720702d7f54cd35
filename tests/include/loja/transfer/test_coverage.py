"""Up to when the orders are complete: a pure function of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.conventions.errors import RequestError
from include.loja.transfer.coverage import BEGINNING, Load, covered_until, window


def day(number: int) -> datetime:
    return datetime(2026, 11, number, tzinfo=UTC)


def test_without_loads_nothing_is_covered_and_the_first_run_reads_everything() -> None:
    assert covered_until([]) is None
    assert window(None, (day(1), day(2)), None) == (BEGINNING, day(2))


def test_loads_that_join_extend_and_a_gap_does_not() -> None:
    first = Load(BEGINNING, day(2), whole=False)
    assert covered_until([first, Load(day(2), day(3), whole=False)]) == day(3)
    assert covered_until([first, Load(day(4), day(5), whole=False)]) == day(2)
    assert covered_until([Load(day(4), day(5), whole=False)]) is None
    assert covered_until(
        [first, Load(day(1), day(2), whole=False), Load(BEGINNING, day(1), whole=False)]
    ) == day(2)


def test_an_open_transaction_holds_the_instant_back_and_the_next_run_begins_there() -> None:
    held = Load(BEGINNING, day(1), whole=False)
    assert window(None, (day(4), day(5)), covered_until([held])) == (day(1), day(5))


def test_a_load_of_the_whole_table_sets_it_also_back() -> None:
    loads = [Load(BEGINNING, day(9), whole=False), Load(BEGINNING, day(7), whole=True)]
    assert covered_until(loads) == day(7)
    # A window that was read before, and published after, does not hide what lies between.
    assert covered_until([*loads, Load(day(9), day(10), whole=False)]) == day(7)
    assert covered_until([*loads, Load(day(7), day(10), whole=False)]) == day(10)


def test_a_run_with_a_range_reads_that_and_one_without_any_is_refused() -> None:
    assert window((day(3), day(4)), (None, None), day(9)) == (day(3), day(4))
    with pytest.raises(RequestError, match="is not before fim"):
        window((day(4), day(4)), (None, None), None)
    with pytest.raises(RequestError, match="no data interval: give inicio and fim"):
        window(None, (None, None), day(1))
