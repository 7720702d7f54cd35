"""The gaps of a coverage, compared with a brute-force result on a small grid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from include.mirror.plan import LedgerState, OpenTransactions, covered_until, gaps, missing, plan
from include.mirror.window import Interval, Request, Window

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TIMES, KEYS = range(12), range(-1, 9)


def at(tick: int) -> datetime:
    return EPOCH + timedelta(minutes=tick)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(st.integers(0, 10))
    end = draw(st.integers(start + 1, 11))
    low = draw(st.none() | st.integers(0, 6))
    high = draw(st.none() | st.integers((low if low is not None else 0) + 1, 8))
    return Window("venda", at(start), at(end), low, high)


def cells(pieces: list[Window]) -> list[tuple[int, int]]:
    """Return the cells of the grid that are in the windows, once for each window."""
    return [
        (tick, key)
        for window in pieces
        for tick in TIMES
        for key in KEYS
        if window.inicio <= at(tick) < window.fim
        and (window.key_from is None or key >= window.key_from)
        and (window.key_to is None or key < window.key_to)
    ]


@given(st.lists(windows(), max_size=8))
def test_coverage_and_gaps_together_hold_everything_and_gaps_nothing_twice(coverage: list[Window]) -> None:
    open_pieces = gaps(coverage, "venda", at(0), at(11))
    covered, missing_cells = cells(coverage), cells(open_pieces)
    everything = {(tick, key) for tick in range(11) for key in KEYS}
    assert set(covered) | set(missing_cells) == everything
    assert not set(covered) & set(missing_cells)
    assert len(missing_cells) == len(set(missing_cells))


@given(st.lists(windows(), max_size=8), st.integers(0, 9), st.integers(1, 5), st.integers(0, 10))
def test_a_scheduled_run_reads_its_interval_and_what_is_missing(
    coverage: list[Window], start: int, length: int, oldest: int
) -> None:
    request = Request(Interval(at(start), at(start + length)), ("venda",), fill_gaps=True)
    planned = missing(coverage, request, "venda", {"venda": at(oldest)})
    first = min(start, oldest)
    wanted = {
        (tick, key)
        for tick in TIMES
        for key in KEYS
        if first <= tick < start + length and (tick >= start or (tick, key) not in set(cells(coverage)))
    }
    assert set(cells(planned)) == wanted


def test_windows_of_other_tables_cover_nothing() -> None:
    request = Request(Interval(at(1), at(2)), ("venda",), fill_gaps=True)
    coverage = [Window("pais", at(0), at(5))]
    state = LedgerState(coverage)
    reads = plan(state, OpenTransactions(), request, {"venda": at(0)}, ("pais", "venda"))
    assert [read.window for read in reads] == [Window("venda", at(0), at(2))]


def test_neighbouring_gaps_are_one_window() -> None:
    assert gaps([], "venda", at(0), at(9)) == [Window("venda", at(0), at(9))]
    coverage = [Window("venda", at(3), at(4), None, 5), Window("venda", at(3), at(4), 5, None)]
    assert gaps(coverage, "venda", at(0), at(9)) == [
        Window("venda", at(0), at(3)),
        Window("venda", at(4), at(9)),
    ]


@given(st.lists(windows(), max_size=8), st.none() | st.integers(0, 11), st.integers(1, 11))
def test_a_table_is_covered_up_to_its_first_hole(
    coverage: list[Window], oldest: int | None, now: int
) -> None:
    until = covered_until(coverage, "venda", None if oldest is None else at(oldest), at(now))
    starts = [at(oldest)] if oldest is not None else [window.inicio for window in coverage]
    if not starts:
        assert until is None
        return
    covered = set(cells(coverage))
    holes = [
        tick
        for tick in range(now)
        if at(tick) >= min(starts) and any((tick, key) not in covered for key in KEYS)
    ]
    assert until == at(holes[0] if holes else now)
