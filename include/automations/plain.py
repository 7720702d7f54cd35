"""Data that JSON can hold, and that PostgreSQL can hold as JSON: what automations are given, and what they return."""

from __future__ import annotations

import json
from collections.abc import Iterator

LARGEST = 100_000
"""Bytes of JSON, of a call or of a result. Airflow keeps both in its metadata database."""


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
