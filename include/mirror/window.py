"""Windows of `updated_at`: what a run was asked to read, and what one read covers.

All bounds are aware datetimes in UTC, half open: `[inicio, fim)`. The source's columns are timestamps
*without* zone; `wall_bounds` says which wall-clock range has to be read so that a window misses nothing.
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
    """What one read covers: a table, `[inicio, fim)` of its `updated_at`, and optionally a range of its key.

    `key_from` (inclusive) and `key_to` (exclusive) are None where the range is open. They exist because one
    transaction gives all of its rows the same `updated_at`, which time alone can't split.
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

    `tabelas` are the tables by name; empty where all are meant and their names are not known yet. `fill_gaps` is True
    for runs of the schedule: they also read whatever before `interval.fim` the ledger does not cover. A run with its
    own `inicio` and `fim` reads exactly that.
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

    There is no fallback to the present time: a run that names no interval and has none is refused, because
    guessing one would leave rows behind without a trace. `tables` are the names that there are, None where only the
    source knows them.
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
    """Return the names of the tables that a run shall build anew, empty where it was asked for something else.

    Such a run does nothing else, so no other key stands beside this one, and it needs no interval.
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
    """Return those of `tables` that are wanted, all for none; raise RequestError for a name that is not among them.

    `key` is where in the conf they stand.
    """
    if unknown := [name for name in wanted or () if name not in tables]:
        raise RequestError(
            f"unknown table {', '.join(map(repr, unknown))} in {key}; there are {', '.join(tables)}"
            f"{did_you_mean(unknown[0], tables, all_names=False)}"
        )
    return tuple(name for name in tables if not wanted or name in wanted)


def floor_time(value: datetime, unit: timedelta) -> datetime:
    """Return `value` without what is less than `unit`, which divides a second."""
    return value - timedelta(microseconds=value.microsecond % max(unit // MICROSECOND, 1))


def ceil_time(value: datetime, unit: timedelta) -> datetime:
    """Return the first whole multiple of `unit`, which divides a second, that is not before `value`."""
    floor = floor_time(value, unit)
    return floor if floor == value else floor + unit


def earliest_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which clocks in `zone` showed `wall`."""
    return min(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def wall_bounds(inicio: datetime, fim: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the naive wall-clock range in `zone` that holds every instant of `[inicio, fim)`.

    Across a change of the zone's offset the converted bounds of a window can coincide or even swap, so both
    are widened by the offsets that apply near them. Reading a row twice is harmless here; missing it is not.
    """

    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(zone).utcoffset() or timedelta()

    # Wall time only runs backwards at a transition, and by less than a day: offsets within a day of a bound
    # are the only ones that can pull the range beyond it. Zones keep an offset for longer than the step.
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
