"""A run's request: refused if it makes no sense, and converted to the source's local time without a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.conventions.errors import RequestError
from include.mirror.window import MICROSECOND, Interval, earliest_instant, rebuilds, resolve, wall_bounds

TABLES = ("pais", "venda")
ONE, TWO = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
NONE = (None, None)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "fim before inicio": (
        {"inicio": "2026-01-02T00:00:00Z", "fim": "2026-01-01T00:00:00Z"},
        "fim 2026-01-01T00:00:00+00:00 is before inicio 2026-01-02T00:00:00+00:00",
    ),
    "zero length": ({"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-01T00:00:00Z"}, "has zero length"),
    "only inicio": ({"inicio": "2026-01-02T00:00:00Z"}, "conf has inicio '2026-01-02T00:00:00Z' but no fim"),
    "only fim": ({"fim": "2026-01-02T00:00:00Z"}, "conf has fim '2026-01-02T00:00:00Z' but no inicio"),
    "naive": (
        {"inicio": "2026-01-01T00:00:00", "fim": "2026-01-02T00:00:00Z"},
        "inicio '2026-01-01T00:00:00' has no time zone; write it like 2026-01-01T00:00:00Z",
    ),
    "unreadable": (
        {"inicio": "yesterday", "fim": "2026-01-02T00:00:00Z"},
        "inicio 'yesterday' is not a date and time",
    ),
    "not a string": ({"inicio": 5, "fim": "2026-01-02T00:00:00Z"}, "inicio must be a string like"),
    "before the year 1": (
        {"inicio": "0001-01-01T00:00:00+14:00", "fim": "2026-01-02T00:00:00Z"},
        "inicio '0001-01-01T00:00:00+14:00' is outside the years 1 to 9999",
    ),
    "outside what the warehouse holds": (
        {"inicio": "0001-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z"},
        "inicio 0001-01-01T00:00:00+00:00 is outside the years 1900 to 2299",
    ),
    "unknown table": (
        {"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z", "tabelas": ["vendas"]},
        "unknown table 'vendas' in tabelas; there are pais, venda",
    ),
    "no interval at all": ({}, "this run has no data interval"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_makes_no_sense_is_refused_by_name(what: str) -> None:
    conf, message = REFUSED[what]
    with pytest.raises(RequestError) as raised:
        resolve(conf, NONE, TABLES)
    assert message in str(raised.value)


REBUILDS: dict[str, tuple[dict[str, Any], str]] = {
    "no list": (
        {"reconstruir": "venda"},
        """reconstruir must be a list of tables like ["tabela"], not 'venda'""",
    ),
    "an empty list": ({"reconstruir": []}, "not []"),
    "no names": ({"reconstruir": ["venda", 5]}, "not ['venda', 5]"),
    "with a range": (
        {"inicio": "2026-01-01T00:00:00Z", "reconstruir": ["venda"], "fim": "2026-01-02T00:00:00Z"},
        "conf has reconstruir and inicio, fim: ",
    ),
    "with tables": ({"tabelas": ["pais"], "reconstruir": ["venda"]}, "give reconstruir alone"),
}


@pytest.mark.parametrize("what", REBUILDS)
def test_tables_to_build_anew_are_a_list_and_stand_alone(what: str) -> None:
    conf, message = REBUILDS[what]
    with pytest.raises(RequestError) as raised:
        rebuilds(conf)
    assert message in str(raised.value)
    assert rebuilds({"reconstruir": ["venda"]}) == ("venda",)
    assert rebuilds({"tabelas": ["venda"]}) == ()


def test_an_interval_of_zero_length_names_the_cron_trap() -> None:
    with pytest.raises(RequestError, match="CronDataIntervalTimetable"):
        resolve({}, (ONE, ONE), TABLES)


def test_a_scheduled_run_fills_gaps_and_one_with_conf_does_not() -> None:
    scheduled = resolve({}, (ONE, TWO), TABLES)
    assert (scheduled.interval, scheduled.fill_gaps) == (Interval(ONE, TWO), True)
    asked = resolve(
        {"inicio": "2026-01-01T00:00:00-03:00", "fim": "2026-01-01T05:00:00Z"}, (ONE, TWO), TABLES
    )
    assert asked.interval == Interval(
        datetime(2026, 1, 1, 3, tzinfo=UTC), datetime(2026, 1, 1, 5, tzinfo=UTC)
    )
    assert not asked.fill_gaps


def test_chosen_tables_keep_the_order_of_the_specs() -> None:
    assert resolve({"tabelas": ["venda", "pais"]}, (ONE, TWO), TABLES).tabelas == TABLES


def test_a_window_over_the_end_of_summer_time_is_widened() -> None:
    zone = ZoneInfo("America/New_York")
    inicio, fim = datetime(2025, 11, 2, 5, 58, tzinfo=UTC), datetime(2025, 11, 2, 6, 2, tzinfo=UTC)
    assert wall_bounds(inicio, fim, zone) == (datetime(2025, 11, 2, 0, 58), datetime(2025, 11, 2, 2, 2))


def test_utc_bounds_stay_as_they_are() -> None:
    assert wall_bounds(ONE, TWO, ZoneInfo("UTC")) == (ONE.replace(tzinfo=None), TWO.replace(tzinfo=None))


ZONES = [
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Europe/Dublin",
]


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    inicio=st.datetimes(datetime(2005, 1, 1), datetime(2026, 1, 1)),
    length=st.timedeltas(timedelta(microseconds=1), timedelta(days=3)),
    part=st.floats(0, 1, exclude_max=True),
)
def test_no_instant_of_a_window_falls_outside_its_wall_clock_range(
    zone: ZoneInfo, inicio: datetime, length: timedelta, part: float
) -> None:
    start = inicio.replace(tzinfo=UTC)
    lower, upper = wall_bounds(start, start + length, zone)
    instant = min(start + length * part, start + length - MICROSECOND)
    wall = instant.astimezone(zone).replace(tzinfo=None)
    assert lower <= wall < upper


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    instant=st.datetimes(datetime(2005, 1, 1), datetime(2026, 1, 1)),
)
def test_the_earliest_instant_of_a_wall_clock_is_not_after_any_other(
    zone: ZoneInfo, instant: datetime
) -> None:
    moment = instant.replace(tzinfo=UTC)
    assert earliest_instant(moment.astimezone(zone).replace(tzinfo=None), zone) <= moment
