"""The base of the operations of all nouns: the connection to the server, with its address and user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trigger.model import Run
from trigger.wire import Wire


class Operations:
    """The operations of one noun. Each may raise a TriggerError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.url = wire.url
        self.username = wire.username

    def _read_run(self, entry: Mapping[str, Any]) -> Run:
        return Run.read(entry, self.url)
