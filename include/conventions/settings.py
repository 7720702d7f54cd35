"""Settings: each a field of a dataclass, which says variable, default, what is accepted, and what it means.

    @dataclass(frozen=True)
    class Creation(FromEnvironment):
        batches: int = whole("LOJA_CRIACAO_LOTES", 20, 1, 20, meaning="at most this many batches in one run")
        delay: timedelta = seconds("LOJA_CRIACAO_ESPERA_SEGUNDOS", 60, 0, meaning="from a failed try to the next")

`Creation.load()` reads the environment, and raises ValueError for a value that makes no sense: "LOJA_CRIACAO_LOTES is '21';
it must be a whole number from 1 to 20". `Creation()` has the defaults. docs/settings.md is made from the same fields
(`include/settings.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

ROOT = Path(__file__).resolve().parents[2]
"""What a folder without a leading slash is relative to: the project."""

LARGEST = 10**9 - 1
LONGEST = timedelta(days=3650)
"""More than anybody means, and little enough to reckon with."""


class Unacceptable(ValueError):
    """A text that is not what it must be; the message says what that is, where it is more than the setting says."""


@dataclass(frozen=True)
class Setting:
    """A variable; `parse` raises ValueError for a text that is not what `accepts` says."""

    variable: str
    default: str
    accepts: str
    meaning: str
    parse: Callable[[str], Any]

    def read(self, given: Mapping[str, str], variable: str) -> Any:
        """Return its value in an environment where it has that name."""
        text = given.get(variable, self.default)
        try:
            return self.parse(text)
        except Unacceptable as error:
            raise ValueError(f"{variable} is {text!r}; it must be {error}") from None
        except ValueError:
            raise ValueError(f"{variable} is {text!r}; it must be {self.accepts}") from None


class FromEnvironment:
    """A dataclass of settings."""

    @classmethod
    def load(cls, given: Mapping[str, str] = os.environ, **names: str) -> Self:
        """Read them. `names` fill in what stands in braces in the variables' names."""
        values: dict[str, Any] = {}
        for one in fields(cls):  # type: ignore[arg-type]
            if group := one.metadata.get("group"):
                values[one.name] = group.load(given, **names)
            else:
                setting: Setting = one.metadata["setting"]
                values[one.name] = setting.read(given, setting.variable.format(**names))
        return cls(**values)

    @classmethod
    def listed(cls) -> Iterator[Setting]:
        """Yield all of them, those of groups in their place."""
        for one in fields(cls):  # type: ignore[arg-type]
            if group := one.metadata.get("group"):
                yield from group.listed()
            else:
                yield one.metadata["setting"]


def setting(variable: str, default: str, accepts: str, parse: Callable[[str], Any], *, meaning: str) -> Any:
    """Return the field of a setting of a kind of its own."""
    return field(
        default=parse(default),
        metadata={"setting": Setting(variable, default, accepts, meaning, parse)},
    )


def group(settings: type[FromEnvironment]) -> Any:
    """Return a field that holds further settings."""
    return field(default_factory=settings, metadata={"group": settings})


def text(variable: str, default: str, *, meaning: str) -> Any:
    """Return the field of any text; whoever uses it looks at it more closely."""
    return setting(variable, default, "a text", str, meaning=meaning)


def whole(
    variable: str,
    default: int,
    lowest: int,
    highest: int | None = None,
    *,
    meaning: str,
    of: Callable[[int], Any] = int,
    most: int = LARGEST,
) -> Any:
    """Return the field of a whole number with bounds, as `of` makes it; without `highest` it is `most`."""
    bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
    limit = most if highest is None else highest

    def parse(given: str) -> Any:
        if not (given.isascii() and given.isdecimal()):
            raise ValueError
        # Python refuses to read thousands of digits.
        number = int(given) if len(given) <= len(str(LARGEST)) else LARGEST + 1
        if number > limit:
            raise Unacceptable(f"a whole number from {lowest} to {limit}")
        if number < lowest:
            raise ValueError
        return of(number)

    return setting(variable, str(default), f"a whole number {bounds}", parse, meaning=meaning)


def seconds(variable: str, default: int, lowest: int, highest: int | None = None, *, meaning: str) -> Any:
    """Return the field of a duration that is given in seconds."""
    return _duration(timedelta(seconds=1), variable, default, lowest, highest, meaning)


def minutes(variable: str, default: int, lowest: int, highest: int | None = None, *, meaning: str) -> Any:
    """Return the field of a duration that is given in minutes."""
    return _duration(timedelta(minutes=1), variable, default, lowest, highest, meaning)


def hours(variable: str, default: int, lowest: int, highest: int | None = None, *, meaning: str) -> Any:
    """Return the field of a duration that is given in hours."""
    return _duration(timedelta(hours=1), variable, default, lowest, highest, meaning)


def _duration(
    unit: timedelta, variable: str, default: int, lowest: int, highest: int | None, meaning: str
) -> Any:
    most = LONGEST // unit
    return whole(
        variable, default, lowest, highest, meaning=meaning, of=lambda number: number * unit, most=most
    )


def percent(variable: str, default: int, *, meaning: str) -> Any:
    """Return the field of a share, which is given in percent: 0.2 for 20."""

    def parse(given: str) -> Decimal:
        try:
            number = Decimal(given)
        except InvalidOperation:
            raise ValueError from None
        if not number.is_finite() or number < 0:
            raise ValueError
        return number / 100

    return setting(variable, str(default), "a number of at least 0", parse, meaning=meaning)


def flag(variable: str, *, meaning: str) -> Any:
    """Return the field of what is off unless it is 1."""

    def parse(given: str) -> bool:
        if given not in ("", "0", "1"):
            raise ValueError
        return given == "1"

    return setting(variable, "0", "0 or 1", parse, meaning=meaning)


def choice(variable: str, *choices: str, meaning: str) -> Any:
    """Return the field of one of a few texts, or of none, which is the default."""

    def parse(given: str) -> str:
        if given and given not in choices:
            raise ValueError
        return given

    return setting(variable, "", f"{', '.join(choices)} or empty", parse, meaning=meaning)


def zone(variable: str, default: str, *, meaning: str) -> Any:
    """Return the field of a time zone's name."""

    def parse(given: str) -> str:
        try:
            return ZoneInfo(given).key
        except ZoneInfoNotFoundError:
            raise ValueError from None

    return setting(variable, default, "a time zone, like America/Sao_Paulo", parse, meaning=meaning)


def folder(variable: str, default: str, *, meaning: str) -> Any:
    """Return the field of a folder that has to be named, as an absolute path."""

    def parse(given: str) -> Path:
        if not given:
            raise ValueError
        return ROOT / Path(given).expanduser()

    return setting(variable, default, f"a folder, such as {default}", parse, meaning=meaning)


def optional_folder(variable: str, *, meaning: str, otherwise: Path | None = None) -> Any:
    """Return the field of a folder as an absolute path; where it is empty, `otherwise`."""

    def parse(given: str) -> Path | None:
        return ROOT / Path(given).expanduser() if given else otherwise

    return setting(variable, "", "a folder, or empty", parse, meaning=meaning)
