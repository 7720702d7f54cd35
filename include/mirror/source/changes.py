"""Which rows a read asks PostgreSQL for: the predicate, and the values that it refers to.

The values are settings of the session, bound where they are set: COPY itself takes no parameters. PostgreSQL plans
with the settings' values, so an index on the change column is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from include.mirror import names
from include.mirror.source.session import assign
from include.mirror.spec import Column, TableSpec
from include.mirror.window import (
    MICROSECOND,
    Window,
    ceil_time,
    earliest_instant,
    floor_time,
    wall_bounds,
)

Values = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Changes:
    """A condition on one table's rows, and the session's settings that it reads."""

    condition: str
    values: Values = ()


EVERYTHING = Changes("TRUE")

XID = "xmin::text::bigint"
"""The low half of the id of the transaction that wrote a row."""


def in_window(spec: TableSpec, window: Window, zone: ZoneInfo) -> Changes:
    """Return what selects the rows of a window by the change column, and by key where the window has a range of it."""
    wall = wall_range(spec, window.inicio, window.fim, zone)
    return between(spec, wall, window.key_from, window.key_to)


def between(
    spec: TableSpec,
    wall: tuple[datetime, datetime],
    key_from: int | None = None,
    key_to: int | None = None,
) -> Changes:
    """Return what selects the rows whose change column lies in `[wall[0], wall[1])`, as the column shows time."""
    column, kind = names.pg(spec.change_column or ""), "timestamptz" if spec.zoned else "timestamp"
    condition = (
        f"{column} >= current_setting('mirror.inicio')::{kind}"
        f" AND {column} < current_setting('mirror.fim')::{kind}"
    )
    values = [("inicio", wall[0].isoformat()), ("fim", wall[1].isoformat())]
    if spec.integer_key is not None:
        key = names.pg(spec.integer_key)
        if key_from is not None:
            condition += f" AND {key} >= current_setting('mirror.key_from')::bigint"
            values.append(("key_from", str(key_from)))
        if key_to is not None:
            condition += f" AND {key} < current_setting('mirror.key_to')::bigint"
            values.append(("key_to", str(key_to)))
    return Changes(condition, values)


def since(xmin: int, seen: Sequence[int] = ()) -> Changes:
    """Return what selects the rows written by transactions from `xmin` on: every one that a snapshot did not see.

    `xmin` is that snapshot's lowest transaction id that was still running. A row's own `xmin` is the low half of its
    writer's id: compared modulo 2^32, as PostgreSQL itself does. Rows of the transactions in `seen` are left out.
    """
    # In a subquery, the setting is read once and not for each row.
    condition = f"(({XID} - (SELECT current_setting('mirror.since')::bigint)) & 4294967295) < 2147483648"
    values = [("since", str(xmin))]
    if seen:
        condition += f" AND {XID} <> ALL ((SELECT current_setting('mirror.seen')::bigint[])::bigint[])"
        values.append(("seen", "{" + ",".join(map(str, seen)) + "}"))
    return Changes(condition, values)


def at_least(xids: npt.NDArray[np.int64], xmin: int) -> npt.NDArray[np.bool_]:
    """Return which of these low halves of transaction ids are `xmin` or later."""
    later: npt.NDArray[np.bool_] = ((xids - xmin) & 0xFFFFFFFF) < 2**31
    return later


def outside(
    spec: TableSpec, now: datetime, zone: ZoneInfo, behind: datetime, written: Changes | None
) -> Changes:
    """Return what selects the rows that no window up to `now` finds: ahead of it, or `written` and before `behind`."""
    kind = "timestamptz" if spec.zoned else "timestamp"
    column = names.pg(spec.change_column or "")
    ahead = wall_range(spec, now, now + MICROSECOND, zone)[1]
    condition = f"{column} >= (SELECT current_setting('mirror.ahead')::{kind})"
    values = [("ahead", ahead.isoformat())]
    if written is not None:
        condition += (
            f" OR ({column} < (SELECT current_setting('mirror.behind')::{kind}) AND {written.condition})"
        )
        before = wall_range(spec, behind - MICROSECOND, behind, zone)[0]
        values += [("behind", before.isoformat()), *written.values]
    return Changes(condition, values)


def with_keys(spec: TableSpec, keys: Sequence[Sequence[str]]) -> Changes:
    """Return what selects the rows with these keys: the texts of their columns, as both servers print them to compare."""
    arrays = [f"(SELECT current_setting('mirror.k{number}')::text[])" for number in range(len(spec.key))]
    values = [
        (f"k{number}", "{" + ",".join(map(_element, part)) + "}")
        for number, part in enumerate(zip(*keys, strict=True))
    ]
    return Changes(having_keys(spec, arrays), values)


def having_keys(
    spec: TableSpec, arrays: Sequence[str], text: Callable[[Column], str | None] | None = None
) -> str:
    """Return what is true of rows whose keys stand in these arrays of texts, one per column of the key.

    `text` gives the expression that a column of the key is compared by, None where its value is: that an index finds. By
    default the texts are those that both servers print to compare, and a column that prints so anyway is compared as a
    value. That takes values for equal which print differently, such as 1.0 and 1.00 or, by their collation, a and A: a few
    rows more than were meant.
    """
    texts = [(text or _printed)(column) for column in spec.key_columns]
    own = [one or names.pg(column.name) for column, one in zip(spec.key_columns, texts, strict=True)]
    wanted = [
        f"wanted.k{number}" if one else f"CAST(wanted.k{number} AS {column.source.declared})"
        for number, (column, one) in enumerate(zip(spec.key_columns, texts, strict=True))
    ]
    columns = ", ".join(f"k{number}" for number in range(len(own)))
    return f"({', '.join(own)}) IN (SELECT {', '.join(wanted)} FROM unnest({', '.join(arrays)}) AS wanted({columns}))"  # noqa: S608


def _printed(column: Column) -> str | None:
    name = names.pg(column.name)
    text = column.carrier.source_text(name)
    return None if column.source.schema == "pg_catalog" and text == f"{name}::text" else text


def _element(text: str) -> str:
    """Return a text as it stands in an array that PostgreSQL reads."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def both(first: Changes, second: Changes) -> Changes:
    """Return what selects the rows that both select."""
    return Changes(f"{first.condition} AND {second.condition}", [*first.values, *second.values])


def binding(values: Values) -> tuple[str, list[str]]:
    """Return the statement that gives the session these values, and its parameters."""
    return assign({f"mirror.{name}": value for name, value in values})


def wall_range(spec: TableSpec, inicio: datetime, fim: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the range of the change column's own values that holds every instant of `[inicio, fim)`.

    Of a column that keeps fewer digits than microseconds, values are rounded: the range is widened to whole units, so
    that a value is on the same side of a bound as the instant that it was made from.
    """
    lower, upper = (inicio, fim) if spec.zoned else wall_bounds(inicio, fim, zone)
    return floor_time(lower, spec.precision), ceil_time(upper, spec.precision)


def as_instant(spec: TableSpec, value: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which the change column could be `value`, in UTC."""
    if spec.zoned:
        return value.astimezone(UTC)
    return earliest_instant(value, zone)


def unit(spec: TableSpec) -> timedelta:
    """Return the smallest step between two values of the change column."""
    return max(spec.precision, MICROSECOND)
