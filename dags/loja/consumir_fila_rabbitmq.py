"""
# consumir_fila_rabbitmq

Every minute, and on demand: consumes the messages that wait in `produto-fila`, `pedido-fila` and `usuario-fila` (RabbitMQ,
connection `rabbitmq_loja`) and stores them in the store's database (connection `mysql_loja`), the urgent ones first. Each
id is stored exactly once. A message is acknowledged after it is stored. A refused message is tried twice more, and then
goes to `…-mortas` with the header `motivo`. Poison, which is not a message at all, goes there at once.

To use more consumers, or only some queues, or to try dead letters again, trigger it with

```json
{"filas": ["pedido-fila"], "consumidores": 8, "lote": 200, "reviver": true}
```

The task `medir` returns the run's `{total, sucessos, falhas, taxa}` per queue. The same numbers are in `metricas_filas` in
the store's database and in the warehouse, and in the metrics `loja.messages` and `loja.success_rate`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import CronTriggerTimetable, dag

from dags.loja.queue_tasks import PARAMS, wire
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.tags import Tag
from include.loja import settings


@dag(
    # A run consumes the waiting messages: it needs no data interval.
    schedule=CronTriggerTimetable("* * * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"queue": settings.Workers.load().messages},
    doc_md=__doc__,
    tags=[Tag.LOJA],
    params=PARAMS,
)
def consumir_fila_rabbitmq() -> None:
    """Wire the tasks for RabbitMQ."""
    wire("rabbitmq")


consumir_fila_rabbitmq()
