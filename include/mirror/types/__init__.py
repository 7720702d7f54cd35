"""The type registry: how a column of any PostgreSQL type gets into ClickHouse without loss; see docs/types.md."""

from __future__ import annotations

from include.mirror.errors import SchemaError
from include.mirror.relation import SourceType
from include.mirror.types import registry
from include.mirror.types.carrier import Carrier
from include.mirror.types.forms import Form
from include.mirror.types.registry import is_known
from include.mirror.types.target import Target, parse

__all__ = ["Carrier", "carrier", "is_known"]


def carrier(source: SourceType, *, not_null: bool, key: bool = False, wanted: str | None = None) -> Carrier:
    """Return how a column of this type travels.

    `key` is True if the column is part of the table's key. `wanted` is the ClickHouse type that was declared, or that an
    existing table has. Raises SchemaError, with the possible types, if values can't arrive in it exactly.
    """
    if wanted is None:
        form, low_cardinality = registry.default(source, key=key)
        return _carrier(form, Target(form.base, form.nullable and not not_null, low_cardinality))
    target = parse(wanted)
    chosen = registry.into(source, target)
    if (
        chosen is None
        or target.nullable > chosen.nullable
        or target.low_cardinality > chosen.low_cardinality
        or (key and target.element is not None)
    ):
        *others, last = [name for name in registry.offers(source) if not (key and name.startswith("Array"))]
        choice = f"{', '.join(others)} or {last}" if others else last
        raise SchemaError(
            f"{source.declared} can't travel into {wanted}: choose {choice}; all but an Array may be Nullable, and a "
            "String may be a LowCardinality"
        )
    return _carrier(chosen, Target(chosen.base, target.nullable, target.low_cardinality))


def _carrier(form: Form, target: Target) -> Carrier:
    return Carrier(
        str(target),
        target.nullable,
        form.read,
        lambda name: form.digest(name, target.nullable),
        form.source_text,
        form.warehouse_text,
        form.accepts,
        form.numbers,
        form.not_held,
        form.convert,
        form.altered,
        form.scale,
    )
