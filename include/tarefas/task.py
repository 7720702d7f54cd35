"""The decorator that makes a function an automation.

from include.tarefas import tarefa

@tarefa
def send_hello_world(name: str = "world") -> str:
    return f"Hello, {name}!"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])

# By identity, not by an attribute of the function, which functools.wraps would copy. The functions are kept here, so no
# other object can get the same id.
_registered: dict[int, object] = {}


def tarefa(function: Function) -> Function:
    """Register a function of a file in the folder of automations, and return it unchanged.

    Raises TypeError for anything but a plain function: calling a class, a coroutine or a generator would not do the work.
    """
    if (
        not isinstance(function, FunctionType)
        or inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise TypeError(
            f"@tarefa is for plain functions (def), written without parentheses; not {function!r}"
        )
    _registered[id(function)] = function
    return function


def is_tarefa(candidate: object) -> bool:
    """Return whether exactly this object was registered."""
    return id(candidate) in _registered
