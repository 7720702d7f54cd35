"""Recorded answers in place of the service. The same client runs, with its retries, on a file instead of a connection.

A recording is a JSON file with a list of `{"path": …, "params": {…}, "status": 200, "body": …}`. A request gets the next
answer that was recorded for its path, and for its parameters if the recording has `params`. After the last one, the last
answer is repeated. A `body` that is a text is returned unchanged, anything else as JSON. The recordings have no day, so
they can be replayed on any day.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include.conventions.errors import ConfigurationError, RequestError
from include.ocorrencias.client import Answer

NAME = r"^[a-z0-9_]{1,60}$"


class Replay:
    """A Transport that answers from a recording."""

    def __init__(self, exchanges: list[dict[str, Any]]) -> None:
        self._exchanges = exchanges
        self._used: dict[int, int] = {}

    def get(self, path: str, params: Mapping[str, str], seconds: float) -> Answer:
        """See Transport. Without a recorded answer it returns 404, in the form of the service's own errors."""
        fits = [
            number
            for number, one in enumerate(self._exchanges)
            if one["path"] == path and one.get("params", {}).items() <= params.items()
        ]
        if not fits:
            return Answer(
                404, json.dumps({"error": f"nothing was recorded for {path} {dict(params)}"}).encode()
            )
        fresh = [number for number in fits if number not in self._used]
        chosen = fresh[0] if fresh else fits[-1]
        self._used[chosen] = self._used.get(chosen, 0) + 1
        body = self._exchanges[chosen]["body"]
        text = body if isinstance(body, str) else json.dumps(body)
        return Answer(self._exchanges[chosen].get("status", 200), text.encode())


def load(folder: Path, name: Any) -> Replay:
    """Return the recording of that name. Raises RequestError for an unknown name, ConfigurationError for a bad file."""
    there = sorted(path.stem for path in folder.glob("*.json"))
    if not isinstance(name, str) or not re.fullmatch(NAME, name) or name not in there:
        raise RequestError(f"gravacao is {name!r}; there are {', '.join(there) or f'none in {folder}'}")
    path = folder / f"{name}.json"
    try:
        exchanges = json.loads(path.read_text())
        if not isinstance(exchanges, list) or not all(
            isinstance(one, dict)
            and isinstance(one.get("path"), str)
            and isinstance(one.get("params", {}), dict)
            and isinstance(one.get("status", 200), int)
            and "body" in one
            for one in exchanges
        ):
            raise ValueError("it must be a list of objects with path, params, status and body")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is not a recording: {error}") from None
    return Replay(exchanges)
