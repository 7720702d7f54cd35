"""Any values of a type: each arrives with the same digest and the same text, or is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.mirror.names import pg_text
from tests.include.mirror.types.way import Way

BATCH = 40

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
WORDS = st.text(CHARACTERS, max_size=300) | st.sampled_from(
    ["NULL", "null", "{}", "\\", '"', "a,b", " ", "\x0b"]
)


def decimals(digits: int, places: int) -> st.SearchStrategy[str]:
    """Numbers of up to `digits` digits, `places` of them decimals."""
    highest = 10**digits - 1
    return st.integers(-highest, highest).map(lambda units: f"{Decimal(units).scaleb(-places):f}")


def floats(width: int) -> st.SearchStrategy[str]:
    """Floats of every kind, as texts that PostgreSQL reads."""
    return st.floats(width=width).map(repr)  # type: ignore[arg-type]


def integers(bits: int) -> st.SearchStrategy[str]:
    """Integers of `bits` bits, mostly small or extreme."""
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(str)


def array(elements: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays of one dimension with NULLs, as texts that PostgreSQL reads."""

    def write(items: list[str | None]) -> str:
        quoted = (
            "NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
            for item in items
        )
        return "{" + ",".join(quoted) + "}"

    return st.lists(st.none() | elements, max_size=5).map(write)


DATES = st.dates(dt.date(1890, 1, 1), dt.date(2310, 1, 1)).map(str) | st.sampled_from(
    ["infinity", "0044-03-15 BC"]
)
MOMENTS = st.datetimes(dt.datetime(1890, 1, 1), dt.datetime(2310, 1, 1)).map(str) | st.just("-infinity")
UUIDS = st.uuids().map(str)

VALUES: dict[str, st.SearchStrategy[str]] = {
    "smallint": integers(16),
    "integer": integers(32),
    "bigint": integers(64),
    "numeric(10,2)": decimals(10, 2) | st.just("NaN"),
    "numeric(18,9)": decimals(18, 9),
    "numeric(60,30)": decimals(60, 30) | st.just("NaN"),
    "numeric": decimals(30, 12) | st.just("Infinity"),
    "real": floats(32),
    "double precision": floats(64),
    "text": WORDS,
    "character(7)": st.text(CHARACTERS, max_size=7),
    "bytea": st.binary(max_size=300).map(lambda value: "\\x" + value.hex()),
    "uuid": UUIDS,
    "date": DATES,
    "timestamp": MOMENTS,
    "timestamptz": MOMENTS,
    "time": st.times().map(str) | st.just("24:00:00"),
    "text[]": array(WORDS),
    "bigint[]": array(integers(64)),
    "double precision[]": array(floats(64)),
    "numeric(10,2)[]": array(decimals(10, 2) | st.just("NaN")),
    "timestamptz[]": array(MOMENTS),
}

REFUSED: dict[str, Callable[[str], bool]] = {
    "numeric(10,2)": lambda value: value == "NaN",
    "numeric(60,30)": lambda value: value == "NaN",
    "numeric(10,2)[]": lambda value: "NaN" in value,
    **dict.fromkeys(("date", "timestamp", "timestamptz"), lambda value: not "1900" <= value[:4] <= "2299"),
    "timestamptz[]": lambda value: any(
        not "1900" <= item[1:5] <= "2299" for item in value[1:-1].split(",") if item not in ("NULL", "")
    ),
}
"""The values that a type's default ClickHouse type can't hold."""


@pytest.mark.parametrize("declared", VALUES)
def test_any_value_arrives_or_is_refused(way: Way, declared: str) -> None:
    nulls = st.nothing() if declared.endswith("[]") else st.none()

    @settings(max_examples=2)
    @given(st.lists(nulls | VALUES[declared], min_size=1, max_size=BATCH))
    def check(values: list[str | None]) -> None:
        literals = ["NULL" if value is None else pg_text(value) for value in values]
        arrived = way.carry(declared, literals)
        is_refused = REFUSED.get(declared, lambda _value: False)
        assert arrived.refused == [
            at for at, value in enumerate(values) if value is not None and is_refused(value)
        ]

    check()


def fits(value: Decimal, digits: int, places: int) -> bool:
    """Return whether a Decimal of the warehouse holds a number without rounding."""
    units = Fraction(value) * 10**places
    return units.denominator == 1 and abs(units) < 10**digits


@pytest.mark.parametrize("wanted", ["Nullable(Decimal(12, 3))", "Nullable(Decimal(30, 3))"])
def test_any_number_arrives_in_a_decimal_or_is_refused(way: Way, wanted: str) -> None:
    digits = 12 if "12" in wanted else 30

    @settings(max_examples=3)
    @given(st.lists(decimals(14, 3) | decimals(5, 5) | decimals(35, 4), min_size=1, max_size=BATCH))
    def check(values: list[str]) -> None:
        arrived = way.carry("numeric", [pg_text(value) for value in values], wanted=wanted)
        exact = [Decimal(value) for value in values]
        assert arrived.refused == [at for at, value in enumerate(exact) if not fits(value, digits, 3)]
        assert arrived.values == [value for at, value in enumerate(exact) if at not in arrived.refused]

    check()
