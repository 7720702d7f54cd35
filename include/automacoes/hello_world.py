"""The smallest automation: an example to begin with."""

from __future__ import annotations

from include.tarefas import tarefa


@tarefa
def send_hello_world(name: str = "world") -> str:
    """Greet somebody, in the log and as the result."""
    greeting = f"Hello, {name}!"
    print(greeting)  # noqa: T201
    return greeting
