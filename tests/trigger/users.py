"""Users of an API in tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class User:
    """Somebody whom an auth manager knows."""

    name: str
    password: str
