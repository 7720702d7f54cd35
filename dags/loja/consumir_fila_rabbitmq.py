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

from airflow.sdk import CronTriggerTimetable, dag

from dags.loja.queue_tasks import PARAMS, wire
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.tags import Tag
from include.loja import settings


@dag(
    # What waits decides, not an interval.
    schedule=CronTriggerTimetable("* * * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.LOJA],
    params=PARAMS,
)
def consumir_fila_rabbitmq() -> None:
    """Wire the tasks of a queue worker."""
    wire("rabbitmq")


consumir_fila_rabbitmq()
