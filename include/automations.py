"""The name that `include.tarefas` had before, so that files of automations that were written then still run.

Each name here is the same object as in `include.tarefas`. This is necessary: the worker recognizes only the functions that
its own decorator has registered, and an exception of another class would be retried.
"""

from __future__ import annotations

import sys

from include.tarefas import errors, settings, task
from include.tarefas.task import tarefa

__all__ = ["errors", "settings", "tarefa", "task"]

# So that `from include.automations.errors import RequestError` finds it too: this is no package.
sys.modules |= {
    f"{__name__}.{name}": module
    for name, module in (("errors", errors), ("settings", settings), ("task", task))
}
