"""Checks of a run's conf: unknown keys, flags, and the range `inicio` to `fim`. All raise RequestError, naming the value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.conventions.errors import RequestError

if TYPE_CHECKING:
    from airflow.sdk import Param

EXAMPLE = "2026-01-01T00:00:00Z"
# A zone is always required: a time without one can be understood in several ways.
INSTANT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$"


def refuse_unknown(conf: Collection[str], known: Collection[str]) -> None:
    """Refuse a conf with an unknown key: otherwise a typing error would silently change what a run does."""
    if unknown := [key for key in conf if key not in known]:
        raise RequestError(f"unknown conf key {', '.join(map(repr, unknown))}; there are {', '.join(known)}")


def flag(conf: Mapping[str, Any], key: str) -> bool:
    """Return the value of a key that is true or false; false if it is missing."""
    value = conf.get(key, False)
    if not isinstance(value, bool):
        raise RequestError(f"{key} is {value!r}; it must be true or false")
    return value


def instant(name: str, value: object) -> datetime:
    """Return the instant, in UTC, of an ISO 8601 text with an offset."""
    if not isinstance(value, str):
        raise RequestError(f"{name} must be a string like {EXAMPLE}, not {value!r}")
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise RequestError(f"{name} {value!r} is not a date and time; write it like {EXAMPLE}") from None
    if found.tzinfo is None:
        raise RequestError(f"{name} {value!r} has no time zone; write it like {EXAMPLE}")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise RequestError(f"{name} {value!r} is outside the years 1 to 9999") from None


def span(conf: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """Return `inicio` and `fim`, None if neither is given. Does not check that `inicio` is before `fim`."""
    given = {key: conf[key] for key in ("inicio", "fim") if conf.get(key) is not None}
    if not given:
        return None
    if len(given) == 1:
        [(key, value)] = given.items()
        missing = "fim" if key == "inicio" else "inicio"
        raise RequestError(f"conf has {key} {value!r} but no {missing}; give both, or neither")
    return instant("inicio", given["inicio"]), instant("fim", given["fim"])


def span_params(what: str, beside: str = "") -> dict[str, Param]:
    """Return the Params `inicio` and `fim`.

    `what` names the range in the description. `beside` is a sentence about other ways to give a range in Airflow's form.
    """
    from airflow.sdk import Param

    def param(title: str, description: str) -> Param:
        return Param(
            None,
            type=["null", "string"],
            format="date-time",
            pattern=INSTANT,
            title=title,
            description=description,
        )

    return {
        "inicio": param(
            "Início",
            f"Start of {what}, with a zone: {EXAMPLE}. Needs fim.{f' {beside}' if beside else ''}",
        ),
        "fim": param("Fim", "End of the range (not included), with a zone. Needs inicio."),
    }
