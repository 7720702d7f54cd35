"""
# executar_tarefa

Runs one automation: a function with `@tarefa` in a file of the folder of automations (`include/automacoes`). The conf names
the function and its arguments:

```json
{"tarefa": "mail.send_email", "kwargs": {"email": "ana@example.com", "message": "Hello"}, "queue": "high"}
```

Instead of `tarefa`, `module` and `function` are accepted: `{"module": "mail", "function": "send_email"}`. `args` is a list
of positional arguments. The run stores the call in one form: `tarefa`, `args`, `kwargs` and `queue`. An invalid call is
refused before a run is created.

The function's return value is the task's XCom `return_value`; its printed lines are in the log. If the function raises an
error, the task is retried (`AUTOMACOES_TASK_RETRIES`), so a function may run more than once. The error of the last try is
the XCom `error`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.conventions.pools import AUTOMACOES
from include.conventions.pools import load as load_pools
from include.conventions.tags import Tag
from include.tarefas import catalog, settings

SETTINGS = settings.load()
CATALOG = catalog.load(SETTINGS.modules_path)
# As many as may wait in the queues. Only in the queues can an urgent call overtake others, so no call is held back earlier.
SLOTS = next(pool.slots for pool in load_pools() if pool.name == AUTOMACOES)


@dag(
    schedule=None,
    # It has no schedule: each run is asked for.
    is_paused_upon_creation=False,
    max_active_runs=SLOTS,
    max_active_tasks=SLOTS,
    default_args={
        **DEFAULT_ARGS,
        "retries": SETTINGS.task_retries,
        "retry_delay": SETTINGS.retry,
        "max_retry_delay": max(timedelta(hours=1), SETTINGS.retry),
        "execution_timeout": SETTINGS.timeout,
    },
    doc_md=__doc__,
    tags=[Tag.AUTOMACOES],
    params={
        "tarefa": Param(
            None,
            type=["null", "string"],
            # Suggestions, not an enum: the check of the whole call gives a better error.
            examples=[function.task for function in CATALOG.functions],
            title="Tarefa",
            description_md=f"The function to run, as module.function:\n\n{CATALOG.markdown}",
        ),
        "kwargs": Param(
            {},
            type=["null", "object"],
            title="Keyword arguments",
            description='For example {"email": "ana@example.com", "message": "Hello"}.',
        ),
        "args": Param(
            [],
            type=["null", "array"],
            title="Positional arguments",
            description="A JSON list; they come before the keyword arguments.",
            section="Alternatives",
        ),
        "module": Param(
            None,
            type=["null", "string"],
            title="Module",
            description="Instead of Tarefa: the file, without .py. Requires Function.",
            section="Alternatives",
        ),
        "function": Param(
            None,
            type=["null", "string"],
            title="Function",
            description="Instead of Tarefa: the function in that file. Requires Module.",
            section="Alternatives",
        ),
    },
)
def executar_tarefa() -> None:
    """Wire the one task."""

    # People's own errors keep their tracebacks, whatever they come from.
    @task(pool=AUTOMACOES, map_index_template="{{ tarefa }}")
    @partial(explained, drivers=False)
    def executar() -> Any:
        from include.tarefas import run

        context = get_current_context()

        def announce(name: str) -> None:
            # The list of task instances shows it beside the task's name.
            context["tarefa"] = name  # type: ignore[typeddict-unknown-key]
            print(f"{name}, run {context['run_id']}")  # noqa: T201

        return run.execute(context["dag_run"].conf, announce)

    executar()


executar_tarefa()
