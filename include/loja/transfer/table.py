"""The tables that go from the store's database to the warehouse: their columns, and the sums by which they are compared.

Names and types are defined only here, and never come from a run. A column's type is the PyArrow type of the Parquet
files; the warehouse's own types are in `include/sql/dw_loja/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

# Each value is weighted by its key modulo this. The plain sum would not change if two values changed places.
MODULUS = 1009


@dataclass(frozen=True)
class Table:
    """A table of the warehouse. `columns` maps each column to the name of its type in `schema`."""

    name: str
    key: str
    money: str
    columns: Mapping[str, str]

    def schema(self) -> pa.Schema:
        """Return the schema of its Parquet files."""
        import pyarrow as pa

        types = {
            "int64": pa.int64(),
            "string": pa.string(),
            "timestamp": pa.timestamp("us"),
            "decimal": pa.decimal128(14, 2),
        }
        return pa.schema([(name, types[kind]) for name, kind in self.columns.items()])


@dataclass(frozen=True)
class Figures:
    """The exact sums over a set of rows; NULL counts as 0."""

    rows: int = 0
    keys: int = 0
    money: Decimal = Decimal(0)
    weighted: Decimal = Decimal(0)

    def __add__(self, other: Figures) -> Figures:
        """Return the figures of both sets together."""
        return Figures(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __str__(self) -> str:
        return f"{self.rows} rows (keys {self.keys}, sum {self.money}, weighted {self.weighted})"

    def dump(self) -> dict[str, Any]:
        """Return the figures as values for JSON."""
        return {
            "rows": self.rows,
            "keys": self.keys,
            "money": str(self.money),
            "weighted": str(self.weighted),
        }

    @staticmethod
    def load(dumped: Mapping[str, Any]) -> Figures:
        """Return the figures that were given to `dump`."""
        return Figures(dumped["rows"], dumped["keys"], Decimal(dumped["money"]), Decimal(dumped["weighted"]))

    @staticmethod
    def of(rows: Iterable[Mapping[str, Any]], table: Table) -> Figures:
        """Return the figures of rows in memory."""
        count = keys = 0
        money = weighted = Decimal(0)
        for row in rows:
            key, value = row[table.key], row[table.money] or Decimal(0)
            count += 1
            keys += key
            money += value
            weighted += value * (key % MODULUS)
        return Figures(count, keys, money, weighted)

    @staticmethod
    def row(values: tuple[Any, ...]) -> Figures:
        """Return the figures from a row (rows, keys, money, weighted) that a server computed."""
        count, keys, money, weighted = values
        return Figures(int(count), int(keys or 0), Decimal(money or 0), Decimal(weighted or 0))


def sums(key: str, money: str) -> str:
    """Return the SELECT list that computes `Figures.row`'s input, for MySQL, PostgreSQL and Redshift."""
    return (
        f"COUNT(*), COALESCE(SUM({key}), 0), COALESCE(SUM({money}), 0), "
        f"COALESCE(SUM({money} * MOD({key}, {MODULUS})), 0)"
    )


PRODUCTS = Table(
    "produtos",
    key="produto_id",
    money="valor_estoque",
    columns={
        "produto_id": "int64",
        "nome": "string",
        "categoria": "string",
        "categoria_id": "string",
        "preco": "decimal",
        "estoque": "int64",
        "valor_estoque": "decimal",
    },
)
PRODUCTS_SET_ASIDE = Table(
    "produtos_rejeitados",
    key="produto_id",
    money="valor_estoque",
    columns={
        "produto_id": "int64",
        "valor_estoque": "decimal",
        "conteudo": "string",
        "motivo": "string",
    },
)
ORDERS = Table(
    "pedidos",
    key="linha",
    money="valor_total",
    columns={
        "linha": "int64",
        "pedido_id": "int64",
        "cliente_id": "int64",
        "data": "timestamp",
        "valor_total": "decimal",
        "status": "string",
        "versao": "timestamp",
    },
)
SET_ASIDE = Table(
    "pedidos_rejeitados",
    key="linha",
    money="valor_total",
    columns={
        "linha": "int64",
        "pedido_id": "int64",
        "valor_total": "decimal",
        "conteudo": "string",
        "motivo": "string",
        "versao": "timestamp",
    },
)
