"""Holds a whole source database against its warehouse: rows, sums of money, and every value of every row.

It shares no code with the mirror that it judges. Each server computes its own figures; a row's content is
hashed with MD5, which both have, over one text that both can write: lengths for texts, whole numbers for
money and moments, so that no server's habits of formatting take part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg

from include.mirror.table import Column, TableSpec
from include.vendas.tables import TABLES

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


@dataclass(frozen=True)
class Figures:
    """One server's figures of a table; `money` is the sum of its last decimal column, None without one.

    `content` is the sum over all rows of the first 60 bits of their MD5.
    """

    rows: int
    money: Decimal | None
    content: int


@dataclass(frozen=True)
class TableDifference:
    """One table on both servers."""

    table: str
    source: Figures
    warehouse: Figures

    @property
    def rows(self) -> int:
        """Rows that the warehouse has too many, or too few where negative."""
        return self.warehouse.rows - self.source.rows

    @property
    def money(self) -> Decimal | None:
        """Money that the warehouse has too much, or too little where negative."""
        if self.source.money is None or self.warehouse.money is None:
            return None
        return self.warehouse.money - self.source.money

    @property
    def same(self) -> bool:
        """True when not one value of one row differs."""
        return self.source == self.warehouse


def compare(
    source_dsn: str, warehouse: Client, specs: Iterable[TableSpec] = tuple(TABLES.values())
) -> list[TableDifference]:
    """Return the figures of each table in PostgreSQL and in the views of `vendas_dw`.

    Means what it says only while nobody writes. Raises psycopg.Error or clickhouse_connect's DatabaseError when a
    server can't be asked, for one because no run has created the views yet.
    """
    differences = []
    with psycopg.connect(source_dsn) as source:
        # All tables as of one moment, so that a writer that was forgotten shows as a difference, not as noise.
        source.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for spec in specs:
            ours = source.execute(_source_query(spec).encode()).fetchone()
            theirs = warehouse.query(_warehouse_query(spec)).result_rows[0]
            differences.append(TableDifference(spec.name, _figures(spec, ours), _figures(spec, theirs)))
    return differences


def _figures(spec: TableSpec, row: Any) -> Figures:
    rows, money, content = row
    if not spec.money:
        return Figures(int(rows), None, int(content))
    # ClickHouse leaves out zeros at the end.
    _, scale = next(column.decimal for column in reversed(spec.columns) if column.decimal)
    return Figures(int(rows), Decimal(money).quantize(Decimal(1).scaleb(-scale)), int(content))


def _source_query(spec: TableSpec) -> str:
    text = " || ".join(_source_text(column) for column in spec.columns)
    money = f"coalesce(sum({spec.money[-1]}), 0)::text" if spec.money else "NULL"
    return (
        f"SELECT count(*), {money}, "  # noqa: S608 (the names are the project's own)
        f"coalesce(sum(('x' || left(md5({text}), 15))::bit(60)::bigint), 0) FROM {spec.source_name}"
    )


def _warehouse_query(spec: TableSpec) -> str:
    text = ", ".join(_warehouse_text(column) for column in spec.columns)
    money = f"toString(ifNull(sum({spec.money[-1]}), 0))" if spec.money else "NULL"
    # The first 15 hexadecimal digits are 60 bits: the first 8 bytes without their last 4 bits.
    bits = f"bitShiftRight(reinterpretAsUInt64(reverse(substring(MD5(concat({text})), 1, 8))), 4)"
    return f"SELECT count(), {money}, toString(sum(toUInt128({bits}))) FROM vendas_dw.{spec.name}"  # noqa: S608


def _source_text(column: Column) -> str:
    """Return SQL for PostgreSQL that writes one value, with its end marked, NULL apart from all others."""
    name = f'"{column.name}"'
    if column.decimal:
        value = f"({name} * {10 ** column.decimal[1]})::bigint"
    elif column.base_type.startswith("DateTime64"):
        value = f"(extract(epoch FROM {name}) * 1000000)::bigint"
    elif column.base_type == "Bool":
        value = f"{name}::int"
    elif column.base_type == "Date32":
        value = f"{name} - DATE '1970-01-01'"
    elif column.base_type == "String":
        return f"coalesce(octet_length({name}) || ':' || {name}, '-')"
    else:
        value = name
    return f"coalesce(({value})::text || ';', '-')"


def _warehouse_text(column: Column) -> str:
    """Return SQL for ClickHouse that writes what `_source_text` writes."""
    # LowCardinality takes another way through functions, and may then keep NULL where a default was asked for.
    kind = f"Nullable({column.base_type})" if column.nullable else column.base_type
    # Quotes inside the type's own text, such as its time zone's, are doubled.
    name = "CAST(`{}`, '{}')".format(column.name, kind.replace("'", "''"))
    if column.decimal:
        value = f"toInt64({name} * {10 ** column.decimal[1]})"
    elif column.base_type.startswith("DateTime64"):
        value = f"toUnixTimestamp64Micro({name})"
    elif column.base_type == "Bool":
        value = f"toUInt8({name})"
    elif column.base_type == "Date32":
        value = f"toInt32({name})"
    elif column.base_type == "String":
        return f"ifNull(concat(toString(length({name})), ':', {name}), '-')"
    else:
        value = name
    return f"ifNull(concat(toString({value}), ';'), '-')"
