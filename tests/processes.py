"""Questions about processes, which may start and end at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psutil

Answer = TypeVar("Answer")


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process still runs. A zombie has ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ask_descendants(question: Callable[[psutil.Process], Answer]) -> list[Answer]:
    """Return `question`'s answers for all descendants of this process, without those that end meanwhile."""
    answers = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # psutil's ZombieProcess is one too
            answers.append(question(process))
    return answers
