"""Questions about the descendants of a process, which may start and end at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psutil

Answer = TypeVar("Answer")


def ask_descendants(question: Callable[[psutil.Process], Answer]) -> list[Answer]:
    """Return `question`'s answers for all descendants of this process, without those that end meanwhile."""
    answers = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # psutil's ZombieProcess is one too
            answers.append(question(process))
    return answers
