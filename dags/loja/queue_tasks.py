"""The tasks of a queue worker's DAG, whatever its broker, and what a trigger may set. When it runs is in its own file."""

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
        minItems=1,
        uniqueItems=True,
        title="Filas",
        description="Queues to take from.",
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
        description="Messages that a consumer holds and stores together.",
    ),
    "segundos": Param(
        300,
        type="integer",
        minimum=1,
        maximum=540,
        title="Segundos",
        description="So long a consumer takes new batches, if it does not find its queue empty before.",
    ),
    "reviver": Param(
        False,
        type="boolean",
        title="Reviver",
        description="Put the dead letters of these queues back first, once their cause is mended.",
    ),
}


def wire(broker: Broker) -> None:
    """Wire planning, consuming and measuring together, in the DAG that is being made."""

    @task
    @explained
    def planejar() -> list[dict[str, Any]]:
        from include.loja.tasks import consumir_fila as tasks

        params = get_current_context()["params"]
        return tasks.plan(
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

    # Whatever became of the others: what a run has stored is measured also where one of its consumers failed.
    @task(trigger_rule=TriggerRule.ALL_DONE)
    @explained
    def medir(planned: Any, consumed: Any) -> dict[str, dict[str, Any]]:
        from include.loja.tasks import consumir_fila as tasks

        params = get_current_context()["params"]
        # There is no list, not even an empty one, where planejar failed.
        failed = None if planned is None else len(planned) - len(consumed or ())
        return tasks.measure(broker, _execution(broker), params["filas"], failed)

    planned = planejar()
    medir(planned, consumir.expand(consumidor=planned))


def _execution(broker: Broker) -> str:
    """Return the name of the current run in the store's tables, where both brokers' runs stand."""
    return f"{broker} {get_current_context()['run_id']}"
