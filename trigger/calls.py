"""A call of an automation as runs of executar_tarefa hold it, and whether two of them are the same.

    {"tarefa": "mail.send_email", "args": [], "kwargs": {"email": "ana@example.com"}, "queue": "default"}

All four keys, always, and the automation by its full name. A caller may name it by `module` and `function`, or by the
function alone, and may leave keys out. Such a conf is brought into this shape before Airflow stores it. Two kinds of runs
hold it as it came: those made before there was one shape, and those made past the REST APIs, by `airflow dags trigger` or by
another DAG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

SLACK = timedelta(seconds=30)
"""As long as making a run may take."""


def stored(tarefa: str, args: list[Any], kwargs: dict[str, Any], queue: str) -> dict[str, Any]:
    """Return the conf of a run that calls the automation."""
    return {"tarefa": tarefa, "args": args, "kwargs": kwargs, "queue": queue}


def unified(conf: Mapping[str, Any] | None, tasks: Callable[[], Iterable[str]]) -> dict[str, Any]:
    """Return a conf in the one shape, so that two of the same call are equal. It is not checked.

    `tasks` returns the full names of all automations; it is called only where a conf has the function's name alone. An
    unknown key is kept, so that such a conf equals no call.
    """
    given = {key: value for key, value in (conf or {}).items() if value is not None}
    module, function = given.get("module"), given.get("function")
    if "tarefa" not in given and isinstance(module, str) and isinstance(function, str):
        del given["module"], given["function"]
        given["tarefa"] = f"{module}.{function}"
    elif isinstance(name := given.get("tarefa"), str) and "." not in name:
        found = [task for task in tasks() if task.rpartition(".")[2] == name]
        given["tarefa"] = found[0] if len(found) == 1 else name
    return {**stored("", [], {}, "default"), **given}


def same_delay(delay: timedelta, made: datetime, run_after: datetime) -> bool:
    """Whether a run that was made at that moment may have been asked for with that delay.

    A run does not hold its delay, only `run_after`, which was computed from it a little before the run was made.
    """
    return timedelta() <= delay - (run_after - made) <= SLACK
