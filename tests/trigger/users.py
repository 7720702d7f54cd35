"""Users of an API in tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class User:
    """A user of an auth manager."""

    name: str
    password: str
