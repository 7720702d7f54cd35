"""The form in which runs of executar_tarefa store a call of an automation, and the comparison of two calls.

    {"tarefa": "mail.send_email", "args": [], "kwargs": {"email": "ana@example.com"}, "queue": "default"}

It always has all four keys, and the automation's full name. A caller may name the automation by `module` and `function`, or
only by the function, and may leave out keys. Such a conf is converted to this form before Airflow stores it. Two kinds of
runs store the conf unconverted: those of earlier versions, and those that are not created through a REST API but by
`airflow dags trigger` or by another DAG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

SLACK = timedelta(seconds=30)
"""The longest time that the creation of a run may take."""


def stored(tarefa: str, args: list[Any], kwargs: dict[str, Any], queue: str) -> dict[str, Any]:
    """Return the conf of a run that calls the automation."""
    return {"tarefa": tarefa, "args": args, "kwargs": kwargs, "queue": queue}


def unified(conf: Mapping[str, Any] | None, tasks: Callable[[], Iterable[str]]) -> dict[str, Any]:
    """Return a conf in the stored form, so that the confs of the same call are equal. The conf is not checked.

    `tasks` returns the full names of all automations; it is called only if a conf has just the function's name. An unknown
    key is kept, so that such a conf equals no call.
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
    """Return whether a run created at `made` may have been requested with this delay.

    A run does not store its delay, only `run_after`, which was computed from the delay shortly before the creation.
    """
    return timedelta() <= delay - (run_after - made) <= SLACK
