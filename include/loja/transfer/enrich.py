"""A product on its way to the warehouse: the columns that are added, and what sets it aside."""

from __future__ import annotations

import json
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


def set_aside(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the row for `produtos_rejeitados` if the warehouse can't hold this enriched product, else None."""
    for name in ("nome", "categoria"):
        if "\0" in row[name]:
            return {
                "produto_id": row["produto_id"],
                "valor_estoque": row["valor_estoque"],
                "conteudo": json.dumps(row, ensure_ascii=False, default=str)[:2000],
                "motivo": f"{name} is {row[name]!r}: it must not contain the character NUL"[:500],
            }
    return None
