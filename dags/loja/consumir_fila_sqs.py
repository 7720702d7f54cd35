"""
# consumir_fila_sqs

When messages begin to wait, and on demand: consumes the messages in `produto-fila`, `pedido-fila` and `usuario-fila`
(Amazon SQS, connection `sqs_loja`; each has two more queues, `-alta` and `-baixa`) and stores them in the store's database
(connection `mysql_loja`), the urgent ones first. Each id is stored exactly once. A message is deleted from its queue after
it is stored. A refused message is tried twice more, and then goes to `…-mortas` with the attribute `motivo`. Poison, which
is not a message at all, goes there at once.

To use more consumers, or only some queues, or to try dead letters again, trigger it with

```json
{"filas": ["pedido-fila"], "consumidores": 8, "lote": 200, "reviver": true}
```

The task `medir` returns the run's `{total, sucessos, falhas, taxa}` per queue. The same numbers are in `metricas_filas` in
the store's database and in the warehouse, and in the metrics `loja.messages` and `loja.success_rate`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Asset, AssetAny, AssetWatcher, dag

from dags.loja.queue_tasks import PARAMS, SETTINGS, wire
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.tags import Tag
from include.loja import settings
from include.loja.queues.message import QUEUES
from include.loja.queues.waiting import MessagesWait

# One asset per queue; the triggerer runs their watchers.
WAITING = [
    Asset(
        f"sqs_{queue}",
        watchers=[
            AssetWatcher(name=f"{queue}_espera", trigger=MessagesWait(queue, SETTINGS.watch.total_seconds()))
        ],
    )
    for queue in QUEUES
]


@dag(
    schedule=AssetAny(*WAITING),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"queue": settings.Workers.load().messages},
    doc_md=__doc__,
    tags=[Tag.LOJA],
    params=PARAMS,
)
def consumir_fila_sqs() -> None:
    """Wire the tasks for SQS."""
    wire("sqs")


consumir_fila_sqs()
