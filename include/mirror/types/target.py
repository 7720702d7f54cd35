"""Parses the text of a ClickHouse type, and prints it as `system.columns` does."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRAPPED = re.compile(r"(Nullable|LowCardinality|Array)\s*\((.*)\)", re.DOTALL)
_DECIMAL = re.compile(r"Decimal\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_TIMESTAMP = re.compile(r"DateTime64\s*\(\s*(\d)\s*,\s*'([^']*)'\s*\)")
_TIME = re.compile(r"Time64\s*\(\s*(\d)\s*\)")


@dataclass(frozen=True)
class Target:
    """A ClickHouse type: `base`, such as `Int32`, `Decimal(10, 2)` or `Array`, and its wrappers.

    `decimal` is the precision and scale of a Decimal. `element` is the type of an array's elements.
    """

    base: str
    nullable: bool = False
    low_cardinality: bool = False
    decimal: tuple[int, int] | None = None
    element: Target | None = None

    def __str__(self) -> str:
        text = self.base if self.element is None else f"Array({self.element})"
        if self.nullable:
            text = f"Nullable({text})"
        return f"LowCardinality({text})" if self.low_cardinality else text


def parse(text: str) -> Target:
    """Return the type that a text stands for. A text that is not understood is returned as `base`, unchanged."""
    text = text.strip()
    match = _WRAPPED.fullmatch(text)
    if match is None:
        return _plain(text)
    inner = parse(match[2])
    if match[1] == "Array":
        return Target("Array", element=inner)
    if match[1] == "Nullable" and not (inner.nullable or inner.low_cardinality or inner.element):
        return Target(inner.base, True, False, inner.decimal)
    if match[1] == "LowCardinality" and not (inner.low_cardinality or inner.element):
        return Target(inner.base, inner.nullable, True, inner.decimal)
    return Target(text)


def _plain(text: str) -> Target:
    if match := _DECIMAL.fullmatch(text):
        precision, scale = int(match[1]), int(match[2])
        return Target(f"Decimal({precision}, {scale})", decimal=(precision, scale))
    if match := _TIMESTAMP.fullmatch(text):
        return Target(f"DateTime64({match[1]}, '{match[2]}')")
    if match := _TIME.fullmatch(text):
        return Target(f"Time64({match[1]})")
    return Target(text)
