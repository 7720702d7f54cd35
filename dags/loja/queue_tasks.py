"""The tasks and Params of both `consumir_fila_*` DAGs. Each DAG's own file has its schedule."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, TriggerRule, get_current_context, task

from include.conventions.failures import explained
from include.loja import settings
from include.loja.queues.message import QUEUES, Broker

SETTINGS = settings.Queues.load()
PARAMS: dict[str, Param] = {
    "filas": Param(
        list(QUEUES),
        type="array",
        items={"type": "string", "enum": list(QUEUES)},
        examples=list(QUEUES),
        minItems=1,
        uniqueItems=True,
        title="Filas",
        description="The queues to consume.",
    ),
    "consumidores": Param(
        2,
        type="integer",
        minimum=1,
        maximum=16,
        title="Consumidores",
        description="At most this many consumers per queue, spread over the workers.",
    ),
    "lote": Param(
        100,
        type="integer",
        minimum=1,
        maximum=500,
        title="Lote",
        description="Messages that a consumer receives and stores together.",
    ),
    "segundos": Param(
        300,
        type="integer",
        minimum=1,
        maximum=540,
        title="Segundos",
        description="A consumer receives new batches for this long, or until its queue is empty.",
    ),
    "reviver": Param(
        False,
        type="boolean",
        title="Reviver",
        description="First put the dead letters of these queues back. Fix their cause before.",
    ),
}


def wire(broker: Broker) -> None:
    """Wire the tasks in the current DAG: plan, consume, measure."""

    @task
    @explained
    def planejar() -> list[dict[str, Any]]:
        from include.loja.tasks import consumir_fila as tasks

        params = get_current_context()["params"]
        return tasks.plan(
            SETTINGS,
            broker,
            _execution(broker),
            params["filas"],
            params["consumidores"],
            params["lote"],
            params["reviver"],
        )

    @task(map_index_template="{{ consumidor }}")
    @explained
    def consumir(consumidor: dict[str, Any]) -> dict[str, int]:
        from include.loja.tasks import consumir_fila as tasks

        context = get_current_context()
        context["consumidor"] = f"{consumidor['fila']} {consumidor['numero']}"  # type: ignore[typeddict-unknown-key]
        params = context["params"]
        return tasks.work(
            SETTINGS, broker, _execution(broker), consumidor["fila"], params["lote"], params["segundos"]
        )

    # ALL_DONE: the stored messages are counted even if a consumer has failed.
    @task(trigger_rule=TriggerRule.ALL_DONE)
    @explained
    def medir(planned: Any, consumed: Any) -> dict[str, dict[str, Any]]:
        from include.loja.tasks import consumir_fila as tasks

        params = get_current_context()["params"]
        # `planned` is None if planejar failed, otherwise a list.
        failed = None if planned is None else len(planned) - len(consumed or ())
        return tasks.measure(broker, _execution(broker), params["filas"], failed)

    planned = planejar()
    medir(planned, consumir.expand(consumidor=planned))


def _execution(broker: Broker) -> str:
    """Return the current run's name in the store's tables, which hold the runs of both brokers."""
    return f"{broker} {get_current_context()['run_id']}"
