"""Automations for tests of the deployment. They write lines to files in the folder GATES, which show how often they ran."""

from __future__ import annotations

import os
import time
from pathlib import Path

from airflow.sdk import get_current_context

from include.tarefas import tarefa


def _leave(name: str) -> int:
    """Add a line to the file with this name, and return its number of lines."""
    path = Path(os.environ["GATES"]) / name
    with path.open("a") as file:
        file.write(f"{get_current_context()['run_id']}\n")
    return len(path.read_text().splitlines())


@tarefa
def fail_twice(name: str) -> int:
    """Fail twice, and succeed the third time."""
    times = _leave(name)
    print(f"this is try {times} of {name}")
    if times < 3:
        raise ConnectionError(f"try {times} finds nobody at home")
    return times


@tarefa
def count(name: str) -> int:
    """Write a line, and end."""
    return _leave(name)


@tarefa
def hold(name: str, gate: str) -> int:
    """Write a line, and occupy a worker's slot until the gate's file exists."""
    times = _leave(name)
    while not (Path(os.environ["GATES"]) / gate).exists():
        time.sleep(0.1)
    return times


def undecorated() -> None:
    """Not an automation, because it has no decorator."""
    _leave("undecorated")
