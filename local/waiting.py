"""Wait for a condition, with a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def until(
    ask: Callable[[], Answer | None],
    seconds: float,
    what: str | Callable[[], object],
    *,
    check: Callable[[], object] = lambda: None,
    pause: float | Callable[[float], object] = 0.02,
) -> Answer:
    """Call `ask` until its answer is true, and return that answer. Raises TimeoutError, naming `what`, after `seconds`.

    `check` is called after each false answer; it raises when waiting has become pointless. `pause` is the pause in seconds
    between two calls, or a function that sleeps, which gets the seconds waited so far.
    """
    began = time.monotonic()
    while not (answer := ask()):
        check()
        waited = time.monotonic() - began
        if waited > seconds:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what if isinstance(what, str) else what()}")
        if callable(pause):
            pause(waited)
        else:
            time.sleep(pause)
    return answer
