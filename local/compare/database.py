"""Compares a whole source database with its warehouse: rows, sums of money, and every value of every row.

It shares no code with the engine that it checks: it reads only the declaration and both servers' catalogs. Each server
computes its own figures. Both hash a row's content with MD5 over the same bytes (`values`). If the figures differ, the
result names keys (`keys`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING

import psycopg

from include.mirror.declaration import Mirror
from include.mirror.names import ch
from local.compare.catalog import SourceTable, source_tables, warehouse_columns
from local.compare.keys import (
    Both,
    KeyDifference,
    RefusedError,
    differing_keys,
    source_content,
    warehouse_content,
)
from local.compare.values import Pair, pair

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

KEYS = 5
"""How many keys are named for each table."""

# These settings decide how values are printed that are compared as PostgreSQL's own text. With row_security off, a policy
# that would hide rows raises an error.
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "row_security": "off",
    # So regclass and similar types print the schema in front of a name, whatever the role's path is.
    "search_path": "pg_catalog",
}
# Decimal's own context keeps 28 digits.
_EXACT = Context(prec=1000)
# Up to 10^20 Decimals of this many digits can be added up before the widest type overflows.
_SAFE_DIGITS = 56
_HALF = 38


class CompareError(Exception):
    """There is nothing to compare. The message says why."""


@dataclass(frozen=True)
class Figures:
    """One server's figures of a table.

    `rows` is the number of rows, None if the server refused to count them. `money` is the sum of the table's last decimal
    column, None if it has none. `content` is the sum of the first 64 bits of all rows' MD5.
    """

    rows: int | None
    money: Decimal | None
    content: int


@dataclass(frozen=True)
class TableDifference:
    """One table on both servers.

    `problems` are other differences, and what could not be compared, one sentence each. `keys` are some of the differing
    rows. `more` is True if there are others.
    """

    table: str
    source: Figures
    warehouse: Figures
    problems: tuple[str, ...] = ()
    keys: tuple[KeyDifference, ...] = ()
    more: bool = False

    @property
    def rows(self) -> int | None:
        """How many rows the warehouse has too many; negative for too few. None if a server refused to count."""
        if self.source.rows is None or self.warehouse.rows is None:
            return None
        return self.warehouse.rows - self.source.rows

    @property
    def money(self) -> Decimal | None:
        """How much money the warehouse has too much; negative for too little. None if a server has no such sum."""
        if self.source.money is None or self.warehouse.money is None:
            return None
        return _EXACT.subtract(self.warehouse.money, self.source.money)

    @property
    def same(self) -> bool:
        """True if all values of all rows were compared and are equal."""
        return self.source == self.warehouse and not self.problems


def compare(
    source_dsn: str, warehouse: Client, mirror: Mirror, tables: Collection[str] | None = None
) -> list[TableDifference]:
    """Return the differences of each table between PostgreSQL and the declaration's views.

    `tables` are names in the warehouse, None for all. The result is valid only while nobody writes. Raises psycopg.Error or
    clickhouse_connect's DatabaseError if a server can't be reached, and CompareError if there is nothing to compare.
    """
    with psycopg.connect(
        source_dsn, client_encoding="UTF8", cursor_factory=psycopg.RawCursor, connect_timeout=10
    ) as source:
        # Read all tables in one snapshot, so that the source's figures fit together even if somebody writes.
        source.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        source.read_only = True
        for name, value in _SETTINGS.items():
            # Set for this transaction only: a pooler can't move a transaction to another session.
            source.execute(b"SELECT set_config($1, $2, true)", (name, value))
        tables_found = _chosen(source_tables(source, mirror), mirror, tables)
        views = warehouse_columns(warehouse, mirror.views)
        differences = []
        for table in tables_found:
            columns = views.get(table.name)
            pairs = list(_pairs(table, columns or {}))
            both = Both(source, warehouse, table, (mirror.views, table.name), pairs)
            differences.append(_compare_table(both, columns))
        return differences


def _chosen(
    found: Sequence[SourceTable], mirror: Mirror, tables: Collection[str] | None
) -> Sequence[SourceTable]:
    if not found:
        what = (
            "it declares no tables" if mirror.schema is None else f"schema {mirror.schema.name} has no tables"
        )
        raise CompareError(f"there is nothing to compare for {mirror.name}: {what} in this source")
    if tables is None:
        return found
    names = [table.name for table in found]
    if unknown := sorted(set(tables) - set(names)):
        raise CompareError(f"{mirror.name} has no table {unknown[0]}; it has {', '.join(names)}")
    return [table for table in found if table.name in tables]


def _compare_table(both: Both, view_columns: dict[str, str] | None) -> TableDifference:
    table, problems = both.table, list(_problems(both, view_columns))
    ours = theirs = Figures(0, None, 0)
    if table.found:
        ours = _asked(lambda: _source_figures(both), problems)
    if view_columns is not None:
        theirs = _asked(lambda: _warehouse_figures(both), problems)
    if ours == theirs or not both.pairs or ours.rows is None or theirs.rows is None:
        return TableDifference(table.name, ours, theirs, tuple(problems))
    names = {pair.name for pair in both.pairs}
    key = next((key for key in table.keys if names.issuperset(key)), None)
    keys: list[KeyDifference] = []
    more = False
    if key is None:
        problems.append("no key is among the columns that were compared: the rows that differ can't be named")
    else:
        try:
            keys, more = differing_keys(both, key, max(ours.rows, theirs.rows), KEYS)
        except RefusedError as error:
            problems.append(str(error))
    return TableDifference(table.name, ours, theirs, tuple(problems), tuple(keys), more)


def _pairs(table: SourceTable, view_columns: dict[str, str]) -> Iterator[Pair]:
    for name, kind in {**table.columns, **table.left_out}.items():
        if name in view_columns and (found := pair(name, kind, view_columns[name])) is not None:
            yield found


def _problems(both: Both, view_columns: dict[str, str] | None) -> Iterator[str]:
    table = both.table
    if not table.found:
        yield f"PostgreSQL has no table {table.label}, or the role can't see it"
        return
    if view_columns is None:
        yield f"ClickHouse has no view {'.'.join(both.view)}"
        return
    compared = {pair.name for pair in both.pairs}
    for name in table.columns:
        if name not in view_columns:
            yield f"column {name} is not in ClickHouse"
    for name, warehouse_type in view_columns.items():
        kind = table.columns.get(name) or table.left_out.get(name)
        if kind is None:
            yield f"column {name} is only in ClickHouse"
        elif name not in compared:
            yield (
                f"column {name} was not compared: there is no rule for {kind.printed} in PostgreSQL and "
                f"{warehouse_type} in ClickHouse"
            )


def _asked(ask: Callable[[], Figures], problems: list[str]) -> Figures:
    try:
        return ask()
    except RefusedError as error:
        problems.append(f"it could not be compared: {error}")
        return Figures(None, None, 0)


def _source_figures(both: Both) -> Figures:
    money = _money(both.pairs)
    total = f"coalesce(sum({money.source_money}), 0)::text" if money else "NULL"
    rows, found, content = both.ask_source(
        f"SELECT count(*), {total}, {source_content(both.pairs)} FROM {both.table.sql}"  # noqa: S608
    )[0]
    return Figures(rows, _amount([found], money), int(content))


def _warehouse_figures(both: Both) -> Figures:
    money = _money(both.pairs)
    total = _warehouse_sums(money) if money else "[]"
    rows, found, content = both.ask_warehouse(
        f"SELECT count(), {total}, {warehouse_content(both.pairs)} FROM {ch(*both.view)}"  # noqa: S608
    )[0]
    return Figures(rows, _amount(found, money), int(content))


def _money(pairs: Sequence[Pair]) -> Pair | None:
    """Return the last decimal column."""
    return next((pair for pair in reversed(pairs) if pair.digits), None)


def _warehouse_sums(money: Pair) -> str:
    """Return the ClickHouse expression of an array of texts: numbers whose sum is the column's sum.

    A sum of Decimals overflows silently, so the values are widened first. Values that already fill the widest type are
    added up in two halves.
    """
    precision, scale = money.digits or (0, 0)
    wide = f"toDecimal256({ch(money.name)}, {scale})"
    if precision <= _SAFE_DIGITS:
        return f"[toString(ifNull(sum({wide}), 0))]"
    units, half = f"reinterpret({wide}, 'Int256')", f"toInt256('1{'0' * _HALF}')"
    sums = (
        f"concat(toString(ifNull(sum({function}({units}, {half})), 0)), 'E{exponent}')"
        for function, exponent in (("intDiv", _HALF - scale), ("modulo", -scale))
    )
    return f"[{', '.join(sums)}]"


def _amount(parts: Sequence[str | None], money: Pair | None) -> Decimal | None:
    """Return the sum of the numbers in `parts`, with the column's number of decimals, also if a server has left out zeros
    at the end."""
    if money is None or money.digits is None:
        return None
    total = Decimal(0)
    for part in parts:
        total = _EXACT.add(total, Decimal(part or 0))
    least = Decimal(1).scaleb(-money.digits[1])
    return (
        _EXACT.quantize(total, least) if total.is_finite() and _EXACT.remainder(total, least) == 0 else total
    )
