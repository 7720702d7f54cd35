"""What tests ask of processes that start and end while they are asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psutil

Answer = TypeVar("Answer")


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process still runs; one that ended and waits for its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ask_descendants(question: Callable[[psutil.Process], Answer]) -> list[Answer]:
    """Return the answers of every process below this one; those that end meanwhile give none."""
    answers = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # psutil's ZombieProcess is one too
            answers.append(question(process))
    return answers
