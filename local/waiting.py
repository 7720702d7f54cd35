"""Wait until something is so, and no longer than there is patience for."""

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
    """Return the first answer that is true; raise TimeoutError, with `what` did not come, after so many seconds.

    `check` is called after each answer that is not, to raise when waiting has become pointless. Between two questions
    are `pause` seconds, or what `pause` sleeps, given the seconds waited so far.
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
