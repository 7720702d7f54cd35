"""
# executar_tarefa

Runs one automation: a function with `@tarefa` in a file of the folder of automations (`include/automacoes`). Say which
one, and with what:

```json
{"tarefa": "mail.send_email", "kwargs": {"email": "ana@example.com", "message": "Hello"}, "queue": "high"}
```

`{"module": "mail", "function": "send_email"}` names the same in two parts, and `args` takes a list where order is enough.
The run holds the call as `tarefa`, `args`, `kwargs` and `queue`, however it was written. A call that makes no sense is
refused before there is a run.

What the function returns is the task's XCom `return_value`; what it prints is in the log. When it raises, it is tried
again (`AUTOMACOES_TASK_RETRIES`), so it may happen that something is done twice.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.pools import AUTOMACOES
from include.conventions.pools import load as load_pools
from include.conventions.tags import Tag
from include.tarefas import catalog, settings

SETTINGS = settings.load()
CATALOG = catalog.load(SETTINGS.modules_path)
# As many as may wait in the queues: whoever is held back before them overtakes nobody.
SLOTS = next(pool.slots for pool in load_pools() if pool.name == AUTOMACOES)


@dag(
    schedule=None,
    # It runs nothing by itself, and who asks for a run means it.
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
            # Suggestions: the check that knows the arguments as well gives the better answer.
            examples=[function.task for function in CATALOG.functions],
            title="Tarefa",
            description_md=f"What to run, as module.function:\n\n{CATALOG.markdown}",
        ),
        "kwargs": Param(
            {},
            type=["null", "object"],
            title="Arguments by name",
            description='As {"email": "ana@example.com", "message": "Hello"}.',
        ),
        "args": Param(
            [],
            type=["null", "array"],
            title="Arguments by place",
            description="A JSON list, before those by name.",
            section="Other ways to say it",
        ),
        "module": Param(
            None,
            type=["null", "string"],
            title="Module",
            description="Instead of Tarefa: the file, without .py. Needs Function.",
            section="Other ways to say it",
        ),
        "function": Param(
            None,
            type=["null", "string"],
            title="Function",
            description="Instead of Tarefa: the function in that file.",
            section="Other ways to say it",
        ),
    },
)
def executar_tarefa() -> None:
    """Wire the one task."""

    @task(pool=AUTOMACOES, map_index_template="{{ tarefa }}")
    def executar() -> Any:
        from include.tarefas import run
        from include.tarefas.failures import explained

        context = get_current_context()

        def announce(name: str) -> None:
            # What the list of task instances shows beside the task's name.
            context["tarefa"] = name  # type: ignore[typeddict-unknown-key]
            print(f"{name}, run {context['run_id']}")  # noqa: T201

        with explained():
            return run.execute(context["dag_run"].conf, announce)

    executar()


executar_tarefa()
