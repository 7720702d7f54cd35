"""
# consumir_fila_rabbitmq

Every minute, and on demand: takes what waits in `produto-fila`, `pedido-fila` and `usuario-fila` (RabbitMQ, connection
`rabbitmq_loja`) and stores it in the store's database (connection `mysql_loja`), each message exactly once by its id,
the urgent first. A message is acknowledged after it is stored. One that is refused is tried again twice, then it lies in
`…-mortas` with the header `motivo`; poison goes there at once. To use more consumers, or only some queues, or to
try dead letters again, trigger

```json
{"filas": ["pedido-fila"], "consumidores": 8, "lote": 200, "reviver": true}
```

The task `medir` returns `{total, sucessos, falhas, taxa}` of the run for each queue; the same is in `metricas_filas`, of
the store's database and of the warehouse, and in the metrics `loja.messages` and `loja.success_rate`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from airflow.sdk import CronTriggerTimetable, Param, TriggerRule, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.tags import Tag
from include.store import settings

SETTINGS = settings.queues()
QUEUES = ["produto-fila", "pedido-fila", "usuario-fila"]
BROKER: Final = "rabbitmq"


@dag(
    # What waits decides, not an interval.
    schedule=CronTriggerTimetable("* * * * *", timezone=settings.zone()),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.LOJA],
    params={
        "filas": Param(
            QUEUES,
            type="array",
            items={"type": "string", "enum": QUEUES},
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
    },
)
def consumir_fila_rabbitmq() -> None:
    """Wire planning, consuming and measuring together."""

    @task
    def planejar() -> list[dict[str, Any]]:
        from include.store.failures import explained
        from include.store.tasks import consumir_fila as tasks

        context = get_current_context()
        run, params = f"{BROKER} {context['run_id']}", context["params"]
        with explained():
            return tasks.plan(
                BROKER, run, params["filas"], params["consumidores"], params["lote"], params["reviver"]
            )

    @task(map_index_template="{{ consumidor }}")
    def consumir(consumidor: dict[str, Any]) -> dict[str, int]:
        from include.store.failures import explained
        from include.store.tasks import consumir_fila as tasks

        context = get_current_context()
        context["consumidor"] = f"{consumidor['fila']} {consumidor['numero']}"  # type: ignore[typeddict-unknown-key]
        run, params = f"{BROKER} {context['run_id']}", context["params"]
        with explained():
            return tasks.work(SETTINGS, BROKER, run, consumidor["fila"], params["lote"], params["segundos"])

    # Also where there was nothing to consume.
    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def medir() -> dict[str, dict[str, Any]]:
        from include.store.failures import explained
        from include.store.tasks import consumir_fila as tasks

        context = get_current_context()
        with explained():
            return tasks.measure(f"{BROKER} {context['run_id']}", context["params"]["filas"])

    consumir.expand(consumidor=planejar()) >> medir()


consumir_fila_rabbitmq()
