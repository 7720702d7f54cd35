"""Each kind of setting: what it accepts, and the one form in which it complains."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from include.conventions.settings import (
    ROOT,
    FromEnvironment,
    choice,
    flag,
    folder,
    group,
    hours,
    optional_folder,
    percent,
    seconds,
    text,
    whole,
    zone,
)


@dataclass(frozen=True)
class Inner(FromEnvironment):
    name: str = text("X_NAME", "a", meaning="a name")


@dataclass(frozen=True)
class Outer(FromEnvironment):
    count: int = whole("X_COUNT", 2, 1, 20, meaning="a count")
    rows: int = whole("X_ROWS", 5, 1, meaning="rows")
    pause: timedelta = seconds("X_PAUSE", 60, 0, meaning="a pause")
    cache: timedelta = hours("X_CACHE", 24, 0, meaning="a cache")
    limit: Decimal = percent("X_LIMIT", 20, meaning="a limit")
    stale: bool = flag("X_STALE", meaning="stale too")
    form: str = choice("X_FORM", "csv", "json", meaning="a form")
    zone: str = zone("X_ZONE", "UTC", meaning="a zone")
    home: Path = folder("X_HOME", "data", meaning="a home")
    other: Path | None = optional_folder("X_OTHER", meaning="another")
    mirror: str = text("X_{NAME}_MIRROR", "m", meaning="of a mirror")
    inner: Inner = group(Inner)


def test_the_defaults_are_those_of_the_class() -> None:
    assert Outer.load({}, NAME="SALES") == Outer()
    assert Outer().inner == Inner("a")
    assert Outer().home == ROOT / "data"


def test_all_are_listed_in_their_order() -> None:
    assert [one.variable for one in Outer.listed()][-3:] == ["X_OTHER", "X_{NAME}_MIRROR", "X_NAME"]


@pytest.mark.parametrize(
    ("variable", "value", "field", "found"),
    [
        ("X_COUNT", "20", "count", 20),
        ("X_PAUSE", "0", "pause", timedelta(0)),
        ("X_LIMIT", "12.5", "limit", Decimal("0.125")),
        ("X_STALE", "1", "stale", True),
        ("X_STALE", "", "stale", False),
        ("X_FORM", "", "form", ""),
        ("X_HOME", "/srv", "home", Path("/srv")),
        ("X_OTHER", "", "other", None),
        ("X_SALES_MIRROR", "n", "mirror", "n"),
        ("X_NAME", "b", "inner", Inner("b")),
    ],
)
def test_what_makes_sense(variable: str, value: str, field: str, found: Any) -> None:
    assert getattr(Outer.load({variable: value}, NAME="SALES"), field) == found


@pytest.mark.parametrize(
    ("variable", "value", "accepts"),
    [
        ("X_COUNT", "21", "a whole number from 1 to 20"),
        ("X_COUNT", "", "a whole number from 1 to 20"),
        ("X_ROWS", "0", "a whole number of at least 1"),
        ("X_ROWS", "1e6", "a whole number of at least 1"),
        ("X_ROWS", "²", "a whole number of at least 1"),
        ("X_ROWS", "٣", "a whole number of at least 1"),
        ("X_ROWS", "9" * 5000, "a whole number from 1 to 999999999"),
        ("X_PAUSE", "-1", "a whole number of at least 0"),
        ("X_CACHE", "999999999", "a whole number from 0 to 87600"),
        ("X_LIMIT", "NaN", "a number of at least 0"),
        ("X_LIMIT", "many", "a number of at least 0"),
        ("X_STALE", "sim", "0 or 1"),
        ("X_FORM", "xml", "csv, json or empty"),
        ("X_ZONE", "../etc/passwd", "a time zone, like America/Sao_Paulo"),
        ("X_ZONE", "Brasil", "a time zone, like America/Sao_Paulo"),
        ("X_HOME", "", "a folder, such as data"),
    ],
)
def test_what_makes_no_sense_is_named(variable: str, value: str, accepts: str) -> None:
    with pytest.raises(ValueError, match="it must be") as refused:
        Outer.load({variable: value}, NAME="SALES")
    assert str(refused.value) == f"{variable} is {value!r}; it must be {accepts}"
