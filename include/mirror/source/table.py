"""One table of the source, read in one session."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from include.mirror import names
from include.mirror.source import changes
from include.mirror.source.changes import Changes, Refer
from include.mirror.source.session import Connection, run
from include.mirror.spec import Column, TableSpec
from include.mirror.templates import render
from include.mirror.window import Window

log = logging.getLogger(__name__)

Key = tuple[str, ...]
"""A key: the text of each of its columns, in a form that PostgreSQL reads."""


@dataclass(frozen=True)
class SourceTable:
    """A table with the session that reads it, and the zone of its timestamps without zone."""

    connection: Connection
    spec: TableSpec
    zone: ZoneInfo

    @property
    def relation(self) -> str:
        """The table in a FROM clause."""
        return f"ONLY {self.spec.source_name}" if self.spec.only else self.spec.source_name

    def gone(self, log: TableSpec) -> str:
        """Return the condition for rows of the log whose key this table does not have.

        Keys are equal if ClickHouse takes them for equal: if their texts are the same, or for floats their values. They are
        compared by value as well if that can use an index of the table.
        """
        conditions = []
        for column in self.spec.key_columns:
            here = f"here.{names.pg(column.name)}"
            there = f"{names.pg(log.schema, log.relation)}.{names.pg(column.name)}"
            if _text(column) is None:
                conditions.append(f"{here} = {there}")
            if "Float" not in column.warehouse_type:
                text = column.carrier.source_text
                conditions.append(f"{text(here)} = {text(there)}")
        return f"NOT EXISTS (SELECT FROM {self.relation} AS here WHERE {' AND '.join(conditions)})"

    def in_window(self, window: Window, refer: Refer = changes.setting) -> Changes:
        """Return the condition for the rows of a window."""
        return changes.in_window(self.spec, window, self.zone, refer)

    def extraction(self, wanted: Changes, *, with_writers: bool = False) -> str:
        """Return the SELECT that reads these rows.

        Its columns are those of the spec, in order; then a flag for each column that can have values which would arrive
        changed without an error; and last, `with_writers`, the id of each row's writer.
        """
        columns = self.spec.columns
        return render(
            "extract",
            columns=[column.carrier.read(names.pg(column.name)) for column in columns],
            flags=[
                column.carrier.altered(names.pg(column.name)) for column in columns if column.carrier.altered
            ],
            writer=changes.XID if with_writers else None,
            relation=self.relation,
            changed=wanted.condition,
        )

    def split(self, window: Window, max_rows: int) -> list[Window]:
        """Split `window` into windows of about `max_rows` rows: by time, and by an integer key if one instant has more rows.

        Each cut is found by one index-only scan from the last cut, and one scan of an eighth of `max_rows` beyond it: if
        fewer rows than that remain, they stay with the last piece. So a split costs little more than one pass over the
        window's index entries. A window that is small enough is returned as it is.

        The search follows the change column's own values, which only rise. If the zone repeats an hour, some cuts do not
        have an instant of their own, and are left out.
        """
        pieces: list[Window] = []
        start, unit = window.inicio, changes.unit(self.spec)
        position, end = changes.wall_range(self.spec, window.inicio, window.fim, self.zone)
        while (cut := self._nth_value(window, (position, end), max_rows)) is not None:
            if self._nth_value(window, (cut, end), max_rows // 8) is None:
                break
            instant = max(start, changes.as_instant(self.spec, cut, self.zone))
            if instant >= window.fim:
                break
            if instant > start:
                pieces.append(_with_time(window, start, instant))
                start = instant
            if cut == position:
                after = min(start + unit, window.fim)
                cuts = self._key_cuts(window, (cut, cut + unit), max_rows)
                bounds = [window.key_from, *cuts, window.key_to]
                pieces += [Window(window.tabela, start, after, low, high) for low, high in pairwise(bounds)]
                start = after
                position = cut + unit
            else:
                position = cut
        return [*pieces, _with_time(window, start, window.fim)] if start < window.fim else pieces

    def _nth_value(self, window: Window, wall: tuple[datetime, datetime], n: int) -> datetime | None:
        """Return the change column's value of row number `n` (from 0) in the range, None beyond the last row."""
        column = names.pg(self.spec.change_column or "")
        wanted = self._bind(changes.between(self.spec, wall, window.key_from, window.key_to))
        row = run(
            self.connection,
            f"SELECT {column} FROM {self.relation} WHERE {wanted} ORDER BY {column} OFFSET $1 LIMIT 1",  # noqa: S608
            (n,),
        ).fetchone()
        return None if row is None else row[0]

    def _key_cuts(self, window: Window, wall: tuple[datetime, datetime], n: int) -> list[int]:
        """Return the keys at which to split the rows of one instant into pieces of `n` rows."""
        if self.spec.integer_key is None:
            return []
        key = names.pg(self.spec.integer_key)
        wanted = self._bind(changes.between(self.spec, wall, window.key_from, window.key_to))
        found = run(
            self.connection,
            f"SELECT key FROM (SELECT {key} AS key, row_number() OVER (ORDER BY {key}) - 1 AS place"  # noqa: S608
            f" FROM {self.relation} WHERE {wanted}) AS numbered WHERE place > 0 AND place % $1 = 0 ORDER BY key",
            (n,),
        )
        return [key for (key,) in found]

    def _bind(self, wanted: Changes) -> str:
        if wanted.values:
            run(self.connection, *changes.binding(wanted.values))
        return wanted.condition

    def warn_of_sequential_scan(self, wanted: Changes | None = None) -> None:
        """Warn of a window that scans the whole table because nothing indexes the change column, and show the plan of what
        is `wanted`."""
        if self.spec.indexed:
            # PostgreSQL still scans a table whole if that is cheaper: it is small, or the window has most of its rows.
            return
        plan = ""
        if wanted is not None:
            self._bind(wanted)
            plan = "\n".join(line for (line,) in run(self.connection, f"EXPLAIN {self.extraction(wanted)}"))
        column = self.spec.change_column or ""
        log.warning(
            "the extraction of %s scans the whole table because nothing indexes %s: run "
            "CREATE INDEX CONCURRENTLY ON %s (%s) on the source\n%s",
            self.spec.label,
            column,
            self.spec.source_name,
            names.pg(column),
            plan,
        )

    def value(self, column: Column, key: Key) -> str:
        """Return the text of one value, as PostgreSQL prints it."""
        rows = self._with_keys(f"{names.pg(column.name)}::text", [key])
        if not rows:
            return "gone"
        return "NULL" if rows[0][0] is None else str(rows[0][0])

    def texts(self, keys: Sequence[Key]) -> dict[Key, Key]:
        """Return the rows with these keys: by the texts of their key columns, the texts of all columns.

        This uses another driver and other expressions than the extraction, so that comparing the two finds errors of both.
        """
        texts = [column.carrier.source_text(names.pg(column.name)) for column in self.spec.columns]
        places = self.spec.key_places
        rows = self._with_keys(", ".join(texts), keys)
        return {tuple(row[place] for place in places): tuple(row) for row in rows}

    def _with_keys(self, selected: str, keys: Sequence[Key]) -> list[tuple[str, ...]]:
        arrays = [f"${number + 1}::text[]" for number in range(len(self.spec.key))]
        return run(
            self.connection,
            f"SELECT {selected} FROM {self.relation} WHERE {changes.having_keys(self.spec, arrays, _text)}",  # noqa: S608
            [list(part) for part in zip(*keys, strict=True)],
        ).fetchall()


def _text(column: Column) -> str | None:
    """Return the text by which a key's column is compared, None to compare it by value.

    Operators of types outside of pg_catalog, such as ltree, are not in the session's search_path.
    """
    kind = column.source
    created = kind.schema != "pg_catalog" and kind.kind == "b" and kind.element is None
    return f"{names.pg(column.name)}::text" if created else None


def larger(
    connection: Connection, windows: Mapping[Window, TableSpec], zone: ZoneInfo, max_rows: int
) -> set[Window]:
    """Return the windows that have more than `max_rows` rows, each of the table beside it, in one statement."""
    if not windows:
        return set()
    parameters, asked = changes.Parameters(), []
    for number, (window, spec) in enumerate(windows.items()):
        table = SourceTable(connection, spec, zone)
        wanted = table.in_window(window, parameters)
        # In the order of the index, as the pieces are cut.
        asked.append(
            f"SELECT {number} WHERE EXISTS (SELECT FROM {table.relation} WHERE {wanted.condition}"  # noqa: S608
            f" ORDER BY {names.pg(spec.change_column or '')} OFFSET {int(max_rows)})"
        )
    found = {number for (number,) in run(connection, " UNION ALL ".join(asked), parameters.values)}
    return {window for number, window in enumerate(windows) if number in found}


def _with_time(window: Window, inicio: datetime, fim: datetime) -> Window:
    return Window(window.tabela, inicio, fim, window.key_from, window.key_to)
