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

# By identity, and not by a mark on the function that a copy of its attributes would carry along. What is kept here lives
# on, so no other object gets its id.
_registered: dict[int, object] = {}


def tarefa(function: Function) -> Function:
    """Register a function of a file in the folder of automations, and return it as it is.

    Raises TypeError for anything but a plain function: a class, a coroutine or a generator would not do its work when
    it is called.
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
    """Return whether this very object was registered."""
    return id(candidate) in _registered
