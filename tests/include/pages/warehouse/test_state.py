"""What the page says of a table, and its charts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.conventions.errors import RequestError
from include.pages.warehouse import charts, state
from include.pages.warehouse.look import Cache, View
from include.pages.warehouse.mirrors import Place
from include.pages.warehouse.state import Window
from include.vendas.sales import Range

NOW = datetime.now(UTC)
EQUAL = {
    "word": "equal",
    "lag_seconds": 40.0,
    "compared_at": NOW,
    "compared_by": "MD5",
    "lacking": 0,
    "wrong": 0,
    "repaired": 0,
}


@pytest.mark.parametrize(
    ("changes", "word", "text"),
    [
        ({}, "equal", f"equal, compared {NOW:%H:%M}"),
        (
            {"compared_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)},
            "equal",
            "equal, compared 2026-01-02 03:04",
        ),
        # Equal once, and nothing is known of what came since.
        ({"lag_seconds": 7200.0}, "follows", "follows, 2 h behind"),
        ({"lag_seconds": None}, "follows", "follows, not complete yet"),
        ({"word": "follows"}, "follows", "follows, 40 s behind"),
        ({"word": "differs", "wrong": 3}, "differs", "differs, 3 keys"),
        ({"word": "differs", "wrong": 3, "repaired": 2}, "differs", "differs, 1 key"),
        ({"word": "differs", "lacking": 1200}, "differs", "differs, lacks 1,200 keys"),
        ({"word": "differs"}, "differs", "differs, set aside"),
        ({"word": "never compared", "compared_at": None}, "never compared", "never compared"),
    ],
)
def test_the_status_is_the_word_with_its_number(changes: dict[str, Any], word: str, text: str) -> None:
    assert state.status({**EQUAL, **changes}) == (word, text)


@pytest.mark.parametrize(
    ("words", "lag", "summary", "verdict"),
    [
        (["equal"], 40.0, "the one table is equal", "Right: every table equals its source."),
        (
            ["follows", "follows", "equal"],
            40.0,
            "2 follow · 1 equal",
            "Right, as far as it was compared. Since then, rows of 2 tables have moved; the warehouse is at most 40 s "
            "behind its source.",
        ),
        (
            ["follows"],
            7200.0,
            "the one table follows",
            "Late: the warehouse is 2 h behind its source. No difference is known.",
        ),
        (
            ["follows"],
            None,
            "the one table follows",
            "Not complete yet: a table still waits for rows. No difference is known.",
        ),
        (
            ["never compared", "follows"],
            40.0,
            "1 never compared · 1 follows",
            "Not proved yet: 1 table was never compared with the source. No difference is known.",
        ),
        (
            ["differs", "differs", "never compared"],
            40.0,
            "2 differ · 1 never compared",
            "Wrong: t0, t1 do not equal their sources. 1 table was never compared with the source.",
        ),
    ],
)
def test_one_sentence_says_whether_the_warehouse_is_right(
    words: list[state.Word], lag: float | None, summary: str, verdict: str
) -> None:
    tables = [
        state.Table(f"t{number}", word, "", "", "", "", "", "", "", lag, None, None, False, NOW, 0)
        for number, word in enumerate(words)
    ]
    view = View(Place("vendas", "s", "w", "r", "d"), NOW, tables)
    assert (view.summary, view.verdict) == (summary, verdict)


def test_the_check_has_its_method_and_time() -> None:
    assert state.checked(EQUAL) == f"last equal {NOW:%H:%M}: MD5"
    assert state.checked({**EQUAL, "compared_at": None}) == "no comparison has proved it equal yet"
    lacks = {**EQUAL, "word": "differs", "lacking": 3, "seen_at": NOW}
    assert state.checked(lacks) == f"counted {NOW:%H:%M}: the keys on both sides, at the end of a run"
    assert state.checked({**lacks, "lacking": 0}) == f"set aside by the run of {NOW:%H:%M}"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (400_000, "5 days")]
)
def test_durations(seconds: float, text: str) -> None:
    assert state.duration(seconds) == text


def test_a_strip_has_a_cell_per_read_with_its_rows() -> None:
    reads = [Window("window", NOW, NOW, 0, NOW), Window("reread", NOW, NOW, 1234, NOW)]
    drawn = charts.strip("a < b", reads, 60)
    assert drawn.count("<rect") == 2
    assert 'class="cell again"' in drawn
    assert "1,234 rows</title>" in drawn
    assert "a &lt; b" in drawn


def test_charts_take_no_text_for_markup() -> None:
    hostile = '"><script>'
    for drawn in (
        charts.columns(hostile, [charts.Bar(hostile, 1, hostile)]),
        charts.rows(hostile, [charts.Bar(hostile, 0, hostile)]),
    ):
        assert "<script>" not in drawn
    assert "<rect" not in charts.columns("nothing", [])


def test_what_was_read_is_kept_for_its_time() -> None:
    now, reads = [0.0], iter(range(10))
    kept: Cache[int] = Cache(5, most=2, clock=lambda: now[0])
    assert [kept.get("a", lambda: next(reads)), kept.get("a", lambda: next(reads))] == [0, 0]
    now[0] = 5
    assert kept.get("a", lambda: next(reads)) == 1
    assert [kept.get(key, lambda: next(reads)) for key in "bc"] == [2, 3]
    assert kept.get("a", lambda: next(reads)) == 4, "the oldest is given up"

    def fail() -> int:
        raise ValueError

    with pytest.raises(ValueError):
        kept.get("d", fail)
    assert kept.get("d", lambda: 9) == 9


TODAY = date(2026, 3, 31)


@pytest.mark.parametrize(
    ("de", "ate", "days"),
    [("", "", 30), ("2026-03-31", "", 1), ("", "2026-01-30", 30), ("2026-01-01", "2026-01-02", 2)],
)
def test_ranges_of_days(de: str, ate: str, days: int) -> None:
    span = Range.of(de, ate, TODAY)
    assert span.ate - span.de == timedelta(days=days - 1)


@pytest.mark.parametrize(
    ("de", "ate", "reason"),
    [
        ("yesterday", "", "de is 'yesterday'"),
        ("", "2026-02-30", "ate is '2026-02-30'"),
        ("2026-02-02", "2026-02-01", "earlier day first"),
        ("1990-01-01", "2026-01-01", "shorter range"),
    ],
)
def test_wrong_ranges_are_refused_by_name(de: str, ate: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        Range.of(de, ate, TODAY)


def test_money_has_two_digits() -> None:
    assert charts.money(Decimal("1234.5")) == "1,234.50"
