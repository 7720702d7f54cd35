"""The data that JSON, and PostgreSQL's JSON, can hold: for the arguments and results of automations."""

from __future__ import annotations

import json
from collections.abc import Iterator

LARGEST = 100_000
"""The largest call or result, in bytes of JSON. Airflow stores both in its metadata database."""
DEEPEST = 100
"""The deepest nesting of lists and objects. With more than 255 levels, Airflow could not list its runs any more."""


def dump(value: object) -> str:
    """Return the value as JSON. Raises ValueError, with the reason, if JSON or PostgreSQL can't hold it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("a text with half a character (a lone surrogate) can't be kept") from None
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if size > LARGEST:
        raise ValueError(
            f"{size:,} bytes of JSON are more than {LARGEST:,}; put what is large into a file or a table"
        )
    if _is_deeper(json.loads(text), DEEPEST):
        raise ValueError(f"lists and objects are nested more than {DEEPEST} deep")
    if "\\u0000" in text and any("\0" in part for part in _texts(json.loads(text))):
        raise ValueError("a text with the character U+0000 can't be kept")
    return text


def brief(value: object, longest: int = 60) -> str:
    """Return the value for a message: short, and as JSON if possible."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    # A lone surrogate can't be encoded, so printing the message would raise an error.
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= longest else f"{text[:longest]}…"


def _is_deeper(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        inside = [
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)
        ]
        level = [inner for outer in inside for inner in outer]
    return any(isinstance(one, dict | list) for one in level)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
