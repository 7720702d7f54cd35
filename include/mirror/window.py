"""Windows of `updated_at`: the interval that a run was asked to read, and the window that one read covers.

All bounds are aware datetimes in UTC, half open: `[inicio, fim)`. The source's columns may be timestamps *without* zone;
`wall_bounds` returns the range of local times that has to be read so that a window misses no row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from include.conventions.conf import EXAMPLE, span
from include.conventions.errors import RequestError
from include.mirror.phrases import did_you_mean

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, order=True)
class Interval:
    """A half-open range of time, `[inicio, fim)`, never empty."""

    inicio: datetime
    fim: datetime

    def __post_init__(self) -> None:
        for name, value in (("inicio", self.inicio), ("fim", self.fim)):
            if value.tzinfo is None:
                raise RequestError(f"{name} {value.isoformat()} has no time zone; write it like {EXAMPLE}")
            if not 1900 <= value.year <= 2299:
                raise RequestError(
                    f"{name} {value.isoformat()} is outside the years 1900 to 2299, which the warehouse can hold"
                )
        if self.inicio == self.fim:
            raise RequestError(
                f"the interval [{self.inicio.isoformat()}, {self.fim.isoformat()}) has zero length and would "
                "read nothing: schedule the DAG with CronDataIntervalTimetable (a bare cron string makes "
                "zero-length intervals), or give conf with inicio before fim"
            )
        if self.fim < self.inicio:
            raise RequestError(
                f"fim {self.fim.isoformat()} is before inicio {self.inicio.isoformat()}; give inicio before fim"
            )


@dataclass(frozen=True)
class Window:
    """What one read covers: a table, `[inicio, fim)` of its change column, and optionally a range of its key.

    `key_from` (inclusive) and `key_to` (exclusive) are None for an open end. Key ranges are needed because all rows of one
    transaction have the same `updated_at`, so time alone can't split them.
    """

    tabela: str
    inicio: datetime
    fim: datetime
    key_from: int | None = None
    key_to: int | None = None

    def __str__(self) -> str:
        keys = ""
        if self.key_from is not None or self.key_to is not None:
            first = "" if self.key_from is None else self.key_from
            last = "" if self.key_to is None else self.key_to
            keys = f" keys [{first}, {last})"
        return f"{self.tabela} [{self.inicio.isoformat()}, {self.fim.isoformat()}){keys}"


@dataclass(frozen=True)
class Request:
    """What a run was asked to mirror.

    `tabelas` are the tables' names; empty for all tables while their names are not known yet. `fill_gaps` is True for runs
    of the schedule: they also read every gap before `interval.fim` that the ledger does not cover. A run with its own
    `inicio` and `fim` reads exactly that interval.
    """

    interval: Interval
    tabelas: tuple[str, ...]
    fill_gaps: bool


def resolve(
    conf: Mapping[str, Any],
    data_interval: tuple[datetime | None, datetime | None],
    tables: tuple[str, ...] | None,
) -> Request:
    """Turn a run's conf (or, without one, its data interval) into a Request.

    There is no fallback to the present time: a run without any interval is refused, because guessing one would leave rows
    behind without a trace. `tables` are the known names, None if only the source knows them.
    """
    wanted = conf.get("tabelas")
    if wanted is not None and not (
        isinstance(wanted, list) and all(isinstance(name, str) for name in wanted)
    ):
        example = tables[0] if tables else "tabela"
        raise RequestError(f'tabelas must be a list like ["{example}"], not {wanted!r}')
    chosen = tuple(wanted or ()) if tables is None else choose(wanted, tables)
    if asked := span(conf):
        return Request(Interval(*asked), chosen, fill_gaps=False)
    start, end = data_interval
    if start is None or end is None:
        raise RequestError(
            "this run has no data interval (it was triggered without a logical date, or by an asset): "
            f'give conf {{"inicio": "{EXAMPLE}", "fim": "…"}}'
        )
    return Request(Interval(start.astimezone(UTC), end.astimezone(UTC)), chosen, fill_gaps=True)


def rebuilds(conf: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tables that a run has to rebuild, empty if conf has no `reconstruir`.

    Such a run does nothing else. It needs no interval, and conf may have no other key.
    """
    if "reconstruir" not in conf:
        return ()
    wanted = conf["reconstruir"]
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise RequestError(f'reconstruir must be a list of tables like ["tabela"], not {wanted!r}')
    if others := [key for key in conf if key != "reconstruir"]:
        raise RequestError(
            f"conf has reconstruir and {', '.join(others)}: a run that builds tables anew reads them whole and moves "
            "nothing else; give reconstruir alone"
        )
    return tuple(wanted)


def choose(wanted: Sequence[str] | None, tables: tuple[str, ...], key: str = "tabelas") -> tuple[str, ...]:
    """Return the `wanted` ones of `tables`, or all if none is wanted. Raise RequestError for an unknown name.

    `key` is the key of conf that holds them, for the message.
    """
    if unknown := [name for name in wanted or () if name not in tables]:
        raise RequestError(
            f"unknown table {', '.join(map(repr, unknown))} in {key}; there are {', '.join(tables)}"
            f"{did_you_mean(unknown[0], tables, all_names=False)}"
        )
    return tuple(name for name in tables if not wanted or name in wanted)


def floor_time(value: datetime, unit: timedelta) -> datetime:
    """Return `value` rounded down to a multiple of `unit`, which must divide a second."""
    return value - timedelta(microseconds=value.microsecond % max(unit // MICROSECOND, 1))


def ceil_time(value: datetime, unit: timedelta) -> datetime:
    """Return `value` rounded up to a multiple of `unit`, which must divide a second."""
    floor = floor_time(value, unit)
    return floor if floor == value else floor + unit


def earliest_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which clocks in `zone` showed `wall`."""
    return min(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def wall_bounds(inicio: datetime, fim: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the range of local times in `zone`, as naive datetimes, that contains every instant of `[inicio, fim)`.

    When the zone's offset changes, a window's converted bounds can coincide or even swap. So both bounds are widened by the
    offsets that are used near them. Reading a row twice does no harm; missing a row does.
    """

    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(zone).utcoffset() or timedelta()

    # Local time runs backwards only when the offset changes, and by less than a day. So only offsets within a day of a bound
    # can move the range beyond it. Zones keep each offset for longer than `step`.
    step, reach = timedelta(minutes=15), timedelta(hours=26)
    last = fim - MICROSECOND
    near_start, near_end = [inicio, min(last, inicio + reach)], [last, max(inicio, last - reach)]
    instant = inicio + step
    while instant < min(last, inicio + reach):
        near_start.append(instant)
        instant += step
    instant = last - step
    while instant > max(inicio, last - reach):
        near_end.append(instant)
        instant -= step
    lower = inicio.replace(tzinfo=None) + min(map(offset, near_start))
    upper = fim.replace(tzinfo=None) + max(map(offset, near_end))
    return lower, upper
