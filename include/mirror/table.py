"""What a mirrored table looks like on both sides: its key and its columns with exact types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

WATERMARK = "updated_at"
"""The column that windows select by: set by the source's default and trigger, to the transaction's start."""


@dataclass(frozen=True)
class Column:
    """One column, by its type in both systems.

    `source_type` is what PostgreSQL's `format_type` prints, such as `numeric(10,2)`; `warehouse_type` is what
    ClickHouse's `system.columns` prints, such as `Nullable(Decimal(10, 2))`.
    """

    name: str
    source_type: str
    warehouse_type: str

    @cached_property
    def base_type(self) -> str:
        """The ClickHouse type without `Nullable` and `LowCardinality`."""
        inner = self.warehouse_type
        while wrapped := re.fullmatch(r"(?:Nullable|LowCardinality)\((.*)\)", inner):
            inner = wrapped[1]
        return inner

    @property
    def nullable(self) -> bool:
        """Whether the warehouse can hold NULL here."""
        return "Nullable(" in self.warehouse_type

    @cached_property
    def decimal(self) -> tuple[int, int] | None:
        """Precision and scale of a decimal column, None for any other."""
        match = re.fullmatch(r"Decimal\((\d+), (\d+)\)", self.base_type)
        return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True)
class TableSpec:
    """One mirrored table.

    `key` is its primary key, a single integer column, which must be among `columns`; so must `updated_at`.
    `extract` is the file with the SELECT that reads it (`{{ changed }}` stands for the window's predicate),
    `create_table` the one with its storage in the warehouse and `create_view` the one with the view of its
    current rows, one statement each.
    """

    name: str
    key: str
    columns: tuple[Column, ...]
    extract: Path
    create_table: Path
    create_view: Path
    schema: str = "public"

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        for needed in (self.key, WATERMARK):
            if needed not in names:
                raise ValueError(f"table {self.name}: column {needed} is not among {', '.join(names)}")
        for column in self.columns:
            if column.decimal and column.decimal[0] > 18:
                raise ValueError(
                    f"table {self.name}: {column.name} is {column.warehouse_type}; money travels as a 64-bit count "
                    "of its smallest unit, which holds 18 digits"
                )

    @property
    def source_name(self) -> str:
        """The table's name in PostgreSQL, with its schema."""
        return f"{self.schema}.{self.name}"

    @property
    def money(self) -> tuple[str, ...]:
        """The decimal columns, whose exact sums go into the ledger."""
        return tuple(column.name for column in self.columns if column.decimal)
