"""Data that JSON can hold, and that PostgreSQL can hold as JSON: what automations are given, and what they return."""

from __future__ import annotations

import json
from collections.abc import Iterator

LARGEST = 100_000
"""Bytes of JSON, of a call or of a result. Airflow keeps both in its metadata database."""
DEEPEST = 100
"""Lists and objects inside one another. With more than 255 Airflow could no longer list its runs."""


def dump(value: object) -> str:
    """Return the value as JSON. Raises ValueError, which says what JSON or PostgreSQL has no place for."""
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
    """Return the value for a message: as JSON where it is JSON, and never long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    # Half characters would break whoever prints the message.
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
