"""The conditions that select a read's rows in PostgreSQL, and the values that they refer to.

COPY takes no parameters, so the conditions read their values from settings of the session, which are set with bound
parameters. PostgreSQL plans with the settings' values, so it uses an index on the change column.
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
    """A condition on one table's rows, and the values of the session's settings that it reads."""

    condition: str
    values: Values = ()


EVERYTHING = Changes("TRUE")

XID = "xmin::text::bigint"
"""The lower 32 bits of the id of the transaction that wrote a row."""


def in_window(spec: TableSpec, window: Window, zone: ZoneInfo) -> Changes:
    """Return the condition for the rows of a window: by the change column, and by key if the window has a range of it."""
    wall = wall_range(spec, window.inicio, window.fim, zone)
    return between(spec, wall, window.key_from, window.key_to)


def between(
    spec: TableSpec,
    wall: tuple[datetime, datetime],
    key_from: int | None = None,
    key_to: int | None = None,
) -> Changes:
    """Return the condition for rows whose change column is in `[wall[0], wall[1])`, in the column's own values."""
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
    """Return the condition for rows written by transactions from `xmin` on.

    If `xmin` is the lowest transaction id that was running in an earlier snapshot, these are all rows which that snapshot
    did not see, and perhaps more. A row's own `xmin` is the lower 32 bits of its writer's id, so it is compared modulo 2^32,
    as PostgreSQL itself does. Rows of the transactions in `seen` are left out.
    """
    # A subquery, so that the setting is read once and not for each row.
    condition = f"(({XID} - (SELECT current_setting('mirror.since')::bigint)) & 4294967295) < 2147483648"
    values = [("since", str(xmin))]
    if seen:
        condition += f" AND {XID} <> ALL ((SELECT current_setting('mirror.seen')::bigint[])::bigint[])"
        values.append(("seen", "{" + ",".join(map(str, seen)) + "}"))
    return Changes(condition, values)


def at_least(xids: npt.NDArray[np.int64], xmin: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the ids, given as their lower 32 bits, that are `xmin` or later."""
    later: npt.NDArray[np.bool_] = ((xids - xmin) & 0xFFFFFFFF) < 2**31
    return later


def outside(
    spec: TableSpec, now: datetime, zone: ZoneInfo, behind: datetime, written: Changes | None
) -> Changes:
    """Return the condition for rows that no window up to `now` finds: after `now`, or `written` with a time before
    `behind`."""
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
    """Return the condition for rows with these keys. A key is the texts of its columns, as both servers print them for
    comparison."""
    arrays = [f"(SELECT current_setting('mirror.k{number}')::text[])" for number in range(len(spec.key))]
    values = [
        (f"k{number}", "{" + ",".join(map(_element, part)) + "}")
        for number, part in enumerate(zip(*keys, strict=True))
    ]
    return Changes(having_keys(spec, arrays), values)


def having_keys(
    spec: TableSpec, arrays: Sequence[str], text: Callable[[Column], str | None] | None = None
) -> str:
    """Return the condition for rows whose keys are in these arrays of texts, one array for each column of the key.

    `text` returns the expression by which a column of the key is compared, or None to compare it by value, which can use an
    index. By default, a column is compared by the text that both servers print for comparison. If that is PostgreSQL's
    ordinary text, it is compared by value. Then values that are equal but print differently are found too, such as 1.0 and
    1.00, or `a` and `A` in some collations: a few more rows than were asked for.
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
    """Return a text as a quoted element of a PostgreSQL array literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def both(first: Changes, second: Changes) -> Changes:
    """Return the condition for rows that both conditions select."""
    return Changes(f"{first.condition} AND {second.condition}", [*first.values, *second.values])


def binding(values: Values) -> tuple[str, list[str]]:
    """Return the statement that sets these values in the session, and its parameters."""
    return assign({f"mirror.{name}": value for name, value in values})


def wall_range(spec: TableSpec, inicio: datetime, fim: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the range of the change column's own values that contains every instant of `[inicio, fim)`.

    If the column keeps fewer digits than microseconds, its values are rounded. The range is then widened to whole units, so
    that a value is on the same side of a bound as the instant before rounding.
    """
    lower, upper = (inicio, fim) if spec.zoned else wall_bounds(inicio, fim, zone)
    return floor_time(lower, spec.precision), ceil_time(upper, spec.precision)


def as_instant(spec: TableSpec, value: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant that the change column's `value` can stand for, in UTC."""
    if spec.zoned:
        return value.astimezone(UTC)
    return earliest_instant(value, zone)


def unit(spec: TableSpec) -> timedelta:
    """Return the smallest step between two values of the change column."""
    return max(spec.precision, MICROSECOND)
