"""Settings from environment variables. Each is a field of a dataclass with its variable, default, bounds and meaning.

    @dataclass(frozen=True)
    class Creation(FromEnvironment):
        batches: int = whole("LOJA_CRIACAO_LOTES", 20, 1, 20, meaning="at most this many batches in one run")
        delay: timedelta = seconds("LOJA_CRIACAO_ESPERA_SEGUNDOS", 60, 0, meaning="from a failed try to the next")

`Creation.load()` reads the environment, and raises ValueError for a wrong value: "LOJA_CRIACAO_LOTES is '21'; it must be a
whole number from 1 to 20". `Creation()` has the defaults. docs/settings.md is generated from the same fields
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

from include.conventions import zones

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder. Relative paths in settings start here."""

LARGEST = 10**9 - 1
LONGEST = timedelta(days=3650)
"""Upper limits of numbers and durations: more than anybody needs, and small enough not to overflow."""


class Unacceptable(ValueError):
    """A wrong value, with a message that is more exact than the setting's `accepts`: what the value must be."""


@dataclass(frozen=True)
class Setting:
    """One variable. `parse` converts its text, and raises ValueError if the text is not what `accepts` describes."""

    variable: str
    default: str
    accepts: str
    meaning: str
    parse: Callable[[str], Any]

    def read(self, given: Mapping[str, str], variable: str) -> Any:
        """Return the setting's value from the environment `given`, where its name is `variable`."""
        text = given.get(variable, self.default)
        try:
            return self.parse(text)
        except Unacceptable as error:
            raise ValueError(f"{variable} is {text!r}; it must be {error}") from None
        except ValueError:
            raise ValueError(f"{variable} is {text!r}; it must be {self.accepts}") from None


class FromEnvironment:
    """Base class of a dataclass of settings."""

    @classmethod
    def load(cls, given: Mapping[str, str] = os.environ, **names: str) -> Self:
        """Read the settings. `names` replace the placeholders in the variables' names, such as `{NAME}`."""
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
        """Yield all settings in order, including those of groups."""
        for one in fields(cls):  # type: ignore[arg-type]
            if group := one.metadata.get("group"):
                yield from group.listed()
            else:
                yield one.metadata["setting"]


def setting(variable: str, default: str, accepts: str, parse: Callable[[str], Any], *, meaning: str) -> Any:
    """Return a field for a setting with its own parser."""
    return field(
        default=parse(default),
        metadata={"setting": Setting(variable, default, accepts, meaning, parse)},
    )


def group(settings: type[FromEnvironment]) -> Any:
    """Return a field that holds a group of settings."""
    return field(default_factory=settings, metadata={"group": settings})


def text(variable: str, default: str, *, meaning: str) -> Any:
    """Return a field for any text. The code that uses the text has to check it."""
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
    """Return a field for a whole number with bounds. `of` converts the number. Without `highest` the limit is `most`."""
    bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
    limit = most if highest is None else highest

    def parse(given: str) -> Any:
        if not (given.isascii() and given.isdecimal()):
            raise ValueError
        # int() raises for texts of thousands of digits.
        number = int(given) if len(given) <= len(str(LARGEST)) else LARGEST + 1
        if number > limit:
            raise Unacceptable(f"a whole number from {lowest} to {limit}")
        if number < lowest:
            raise ValueError
        return of(number)

    return setting(variable, str(default), f"a whole number {bounds}", parse, meaning=meaning)


def seconds(variable: str, default: int, lowest: int, highest: int | None = None, *, meaning: str) -> Any:
    """Return a field for a duration that is given in seconds."""
    return _duration(timedelta(seconds=1), variable, default, lowest, highest, meaning)


def minutes(variable: str, default: int, lowest: int, highest: int | None = None, *, meaning: str) -> Any:
    """Return a field for a duration that is given in minutes."""
    return _duration(timedelta(minutes=1), variable, default, lowest, highest, meaning)


def hours(variable: str, default: int, lowest: int, highest: int | None = None, *, meaning: str) -> Any:
    """Return a field for a duration that is given in hours."""
    return _duration(timedelta(hours=1), variable, default, lowest, highest, meaning)


def _duration(
    unit: timedelta, variable: str, default: int, lowest: int, highest: int | None, meaning: str
) -> Any:
    most = LONGEST // unit
    return whole(
        variable, default, lowest, highest, meaning=meaning, of=lambda number: number * unit, most=most
    )


def percent(variable: str, default: int, *, meaning: str) -> Any:
    """Return a field for a share that is given in percent: the value of `20` is 0.2."""

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
    """Return a field for a switch: True for `1`, False for `0` or an empty text."""

    def parse(given: str) -> bool:
        if given not in ("", "0", "1"):
            raise ValueError
        return given == "1"

    return setting(variable, "0", "0 or 1", parse, meaning=meaning)


def choice(variable: str, *choices: str, meaning: str) -> Any:
    """Return a field for one of `choices`. The default is an empty text."""

    def parse(given: str) -> str:
        if given and given not in choices:
            raise ValueError
        return given

    return setting(variable, "", f"{', '.join(choices)} or empty", parse, meaning=meaning)


def zone(variable: str, default: str, *, meaning: str) -> Any:
    """Return a field for a time zone's name."""

    def parse(given: str) -> str:
        if (found := zones.find(given)) is None:
            raise ValueError
        return found.key

    return setting(variable, default, "a time zone, like America/Sao_Paulo", parse, meaning=meaning)


def folder(variable: str, default: str, *, meaning: str) -> Any:
    """Return a field for a folder, which can't be empty. The value is an absolute path."""

    def parse(given: str) -> Path:
        if not given:
            raise ValueError
        return ROOT / Path(given).expanduser()

    return setting(variable, default, f"a folder, such as {default}", parse, meaning=meaning)


def optional_folder(variable: str, *, meaning: str, otherwise: Path | None = None) -> Any:
    """Return a field for a folder. The value is an absolute path, or `otherwise` if the text is empty."""

    def parse(given: str) -> Path | None:
        return ROOT / Path(given).expanduser() if given else otherwise

    return setting(variable, "", "a folder, or empty", parse, meaning=meaning)
