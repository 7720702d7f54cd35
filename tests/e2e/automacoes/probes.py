"""Automations that tests of the deployment run; what they leave in the folder GATES tells how often they did."""

from __future__ import annotations

import os
import time
from pathlib import Path

from airflow.sdk import get_current_context

from include.tarefas import tarefa


def _leave(name: str) -> int:
    """Add a line to a file of that name, and return how many it has now."""
    path = Path(os.environ["GATES"]) / name
    with path.open("a") as file:
        file.write(f"{get_current_context()['run_id']}\n")
    return len(path.read_text().splitlines())


@tarefa
def fail_twice(name: str) -> int:
    """Fail twice, and work the third time."""
    times = _leave(name)
    print(f"this is try {times} of {name}")
    if times < 3:
        raise ConnectionError(f"try {times} finds nobody at home")
    return times


@tarefa
def count(name: str) -> int:
    """Leave a line, and be done."""
    return _leave(name)


@tarefa
def hold(name: str, gate: str) -> int:
    """Leave a line, and take a worker's slot until the gate opens."""
    times = _leave(name)
    while not (Path(os.environ["GATES"]) / gate).exists():
        time.sleep(0.1)
    return times


def undecorated() -> None:
    """Be callable by nobody."""
    _leave("undecorated")
