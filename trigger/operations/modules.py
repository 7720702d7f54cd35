"""The modules of automations that the service offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trigger.address import SERVICE
from trigger.model import Function, Module
from trigger.operations.base import Operations


class Modules(Operations):
    """The operations on the modules of automations."""

    def modules(self) -> list[Module]:
        """Return the files of automations with their functions."""

        def read(answer: Sequence[Mapping[str, Any]]) -> list[Module]:
            return [
                Module(
                    module=entry["module"],
                    doc=entry["doc"],
                    error=entry["error"],
                    functions=[
                        Function(**{name: one[name] for name in Function.__dataclass_fields__})
                        for one in entry["functions"]
                    ],
                )
                for entry in answer
            ]

        return self._wire.call("GET", "/modules", read, root=SERVICE)
