"""The state of a source: its identity, its clock, and the oldest and newest times in its tables with windows.

One statement reads all of it, however many tables there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from include.conventions.heals import postgres_heals
from include.mirror import names
from include.mirror.source import changes
from include.mirror.source.session import Connection, run
from include.mirror.source.transactions import IDENTITY, Identity, identify
from include.mirror.spec import TableSpec
from include.mirror.templates import render
from include.mirror.window import MICROSECOND

_NAMED = 5
"""How many keys an error names."""

_ANSWERS = 7
"""The number of values of a table in a row of the result."""


@dataclass(frozen=True)
class Look:
    """The state of a source at `now`, by its own clock.

    By the names of tables: `oldest` is the instant of the oldest row, and `newest` the newest value of the change column, if
    there are rows. `wrong` is what is wrong with a table. `counted` is the number of rows of each table to count that has no
    row from the given instant on.
    """

    found: tuple[Any, ...]
    now: datetime
    oldest: Mapping[str, datetime] = field(default_factory=dict)
    newest: Mapping[str, datetime] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)

    def identity(self, *, sessions: bool) -> Identity:
        """Return which source it is; raise SourceError as `identify` does."""
        return identify(self.found, sessions=sessions)


def look(
    connection: Connection,
    specs: Iterable[TableSpec],
    zone: ZoneInfo,
    count: Mapping[str, datetime | None] | None = None,
) -> Look:
    """Return the state of a source and of these tables. The tables in `count` are counted, up to the given instants.

    A table is wrong that has rows with a change column which no window can match: NULL, infinity, or a year that the
    warehouse's timestamps can't hold. The text has their count, and keys.
    """
    windows = [spec for spec in specs if spec.change_column is not None]
    try:
        rows = _ask(connection, windows, zone, count or {})
    except psycopg.Error as error:
        if postgres_heals(error) or not windows:
            raise
        return _one_by_one(connection, windows, zone, count or {}, error)
    found, now = rows[0][: -_ANSWERS - 1], rows[0][-_ANSWERS - 1]
    oldest, newest, wrong, counted = (
        dict[str, datetime](),
        dict[str, datetime](),
        dict[str, str](),
        dict[str, int](),
    )
    answers = {row[-_ANSWERS]: row[-_ANSWERS + 1 :] for row in rows}
    for number, spec in enumerate(windows):
        first, last, bad, keys, all_rows, is_moving = answers[number]
        if all_rows is not None and not is_moving:
            counted[spec.name] = all_rows
        if bad:
            wrong[spec.name] = (
                f"{bad} rows of {spec.label} have {spec.change_column} NULL or outside the years 1900 to "
                f"2299, so no window would ever read them: {', '.join(spec.key)} {'; '.join(keys)}"
                f"{' …' if bad > len(keys) else ''}. Give them one, such as {spec.change_column} = DEFAULT"
            )
        elif first is not None:
            first, last = (one if spec.zoned else one.replace(tzinfo=None) for one in (first, last))
            oldest[spec.name] = changes.as_instant(spec, first, zone)
            newest[spec.name] = last
    return Look(tuple(found), now.astimezone(UTC), oldest, newest, wrong, counted)


def _one_by_one(
    connection: Connection,
    windows: Sequence[TableSpec],
    zone: ZoneInfo,
    count: Mapping[str, datetime | None],
    error: psycopg.Error,
) -> Look:
    """Read each table by itself, because one of them raises an error."""
    if len(windows) == 1:
        reason = f"{windows[0].label}: PostgreSQL: {' '.join(str(error).split())}"
        return replace(look(connection, (), zone), wrong={windows[0].name: reason})
    looks = [look(connection, [spec], zone, count) for spec in windows]
    return replace(
        looks[0],
        oldest={name: value for one in looks for name, value in one.oldest.items()},
        newest={name: value for one in looks for name, value in one.newest.items()},
        wrong={name: value for one in looks for name, value in one.wrong.items()},
        counted={name: value for one in looks for name, value in one.counted.items()},
    )


def _ask(
    connection: Connection,
    windows: Sequence[TableSpec],
    zone: ZoneInfo,
    count: Mapping[str, datetime | None],
) -> list[tuple[Any, ...]]:
    """Return a row per table, or one if there are none: `IDENTITY`, the clock, then the table's number and what it has."""
    parameters = changes.Parameters()
    tables = []
    for number, spec in enumerate(windows):
        until = count.get(spec.name)
        later = None
        if until is not None:
            # The earliest value of that instant, also on a night when an hour comes twice.
            bound = changes.wall_range(spec, until, until + MICROSECOND, zone)[0].isoformat()
            later = f"({parameters('until', bound)})::{'timestamptz' if spec.zoned else 'timestamp'}"
        tables.append(
            {
                "number": number,
                "relation": f"ONLY {spec.source_name}" if spec.only else spec.source_name,
                "column": names.pg(spec.change_column or ""),
                "zone": "Z" if spec.zoned else "",
                "key": " || ', ' || ".join(f"{names.pg(name)}::text" for name in spec.key),
                "order": ", ".join(names.pg(name) for name in spec.key),
                "named": _NAMED,
                "count": spec.name in count,
                "later": later,
            }
        )
    return run(connection, render("look", identity=IDENTITY, tables=tables), parameters.values).fetchall()
