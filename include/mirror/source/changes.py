"""The conditions that select a read's rows in PostgreSQL, and the values that they refer to.

The values are settings of the session, bound where they are set: COPY itself takes no parameters. PostgreSQL plans
with the settings' values, so an index on the change column is used. A SELECT that asks of many tables at once takes them
as its parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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

Refer = Callable[[str, str], str]
"""Returns the expression, a text, by which a condition refers to a value that it calls by a name."""


def setting(name: str, _value: str) -> str:
    """Refer to a setting of the session that `binding` gives its value."""
    return f"current_setting('mirror.{name}')"


@dataclass
class Parameters:
    """Refers to the parameters of one statement, and collects their values."""

    values: list[str] = field(default_factory=list)

    def __call__(self, _name: str, value: str) -> str:
        self.values.append(value)
        return f"${len(self.values)}::text"


XID = "xmin::text::bigint"
"""The lower 32 bits of the id of the transaction that wrote a row."""


def in_window(spec: TableSpec, window: Window, zone: ZoneInfo, refer: Refer = setting) -> Changes:
    """Return the condition for the rows of a window: by the change column, and by key if the window has a range of it."""
    wall = wall_range(spec, window.inicio, window.fim, zone)
    return between(spec, wall, window.key_from, window.key_to, refer)


def between(
    spec: TableSpec,
    wall: tuple[datetime, datetime],
    key_from: int | None = None,
    key_to: int | None = None,
    refer: Refer = setting,
) -> Changes:
    """Return the condition for rows whose change column is in `[wall[0], wall[1])`, in the column's own values."""
    column, kind = names.pg(spec.change_column or ""), "timestamptz" if spec.zoned else "timestamp"
    values = [("inicio", wall[0].isoformat()), ("fim", wall[1].isoformat())]
    first, last = (refer(*value) for value in values)
    conditions = [f"{column} >= ({first})::{kind}", f"{column} < ({last})::{kind}"]
    if spec.integer_key is not None:
        key = names.pg(spec.integer_key)
        for name, sign, bound in (("key_from", ">=", key_from), ("key_to", "<", key_to)):
            if bound is not None:
                values.append((name, str(bound)))
                conditions.append(f"{key} {sign} ({refer(*values[-1])})::bigint")
    return Changes(" AND ".join(conditions), values)


def since(xmin: int, seen: Sequence[int] = (), refer: Refer = setting) -> Changes:
    """Return the condition for rows written by transactions from `xmin` on.

    If `xmin` is the lowest transaction id that was running in an earlier snapshot, these are all rows which that snapshot
    did not see, and perhaps more. A row's own `xmin` is the lower 32 bits of its writer's id, so it is compared modulo 2^32,
    as PostgreSQL itself does. Rows of the transactions in `seen` are left out.
    """
    values = [("since", str(xmin))]
    # In a subquery, the setting is read once and not for each row.
    condition = f"(({XID} - (SELECT ({refer(*values[0])})::bigint)) & 4294967295) < 2147483648"
    if seen:
        values.append(("seen", "{" + ",".join(map(str, seen)) + "}"))
        condition += f" AND {XID} <> ALL ((SELECT ({refer(*values[1])})::bigint[])::bigint[])"
    return Changes(condition, values)


def at_least(xids: npt.NDArray[np.int64], xmin: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the ids, given as their lower 32 bits, that are `xmin` or later."""
    later: npt.NDArray[np.bool_] = ((xids - xmin) & 0xFFFFFFFF) < 2**31
    return later


def outside(
    spec: TableSpec,
    now: datetime,
    zone: ZoneInfo,
    behind: datetime,
    written: Changes | None,
    refer: Refer = setting,
) -> Changes:
    """Return the condition for rows that no window up to `now` finds: after `now`, or `written` with a time before
    `behind`."""
    kind = "timestamptz" if spec.zoned else "timestamp"
    column = names.pg(spec.change_column or "")
    values = [("ahead", wall_range(spec, now, now + MICROSECOND, zone)[1].isoformat())]
    condition = f"{column} >= (SELECT ({refer(*values[0])})::{kind})"
    if written is not None:
        values.append(("behind", wall_range(spec, behind - MICROSECOND, behind, zone)[0].isoformat()))
        condition += f" OR ({column} < (SELECT ({refer(*values[1])})::{kind}) AND {written.condition})"
        values += written.values
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
