"""The columns that are added to a product on its way to the warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

CATEGORIES = {
    "Roupas": "CAT-001",
    "Eletrônicos": "CAT-002",
    "Alimentos": "CAT-003",
    "Móveis": "CAT-004",
}
MAX_VALUE = Decimal("999999999999.99")


def enrich(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the product with `valor_estoque` and `categoria_id`, which is None for an unknown category.

    Raises ValueError, naming product and value, if `valor_estoque` is too large for the warehouse's type.
    """
    value = row["preco"] * row["estoque"]
    if abs(value) > MAX_VALUE:
        raise ValueError(
            f"product {row['produto_id']}: preco {row['preco']} times estoque {row['estoque']} is {value}, "
            f"more than {MAX_VALUE}"
        )
    return {**row, "categoria_id": CATEGORIES.get(row["categoria"]), "valor_estoque": value}
