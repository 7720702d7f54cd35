"""Texts for people: one line out of many, the cause of an error, suggestions for misspelt names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def one_line(text: str, longest: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def root_cause(error: BaseException) -> str:
    """Return the innermost message of requests' and urllib3's nested errors."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (argument for argument in error.args if isinstance(argument, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        error = inner
    # Remove the object's repr, which urllib3 puts in front.
    text = re.sub(r"^<[^>]*>: |^[\w.]+\(host=[^)]*\): ", "", one_line(str(error)))
    return text or type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
