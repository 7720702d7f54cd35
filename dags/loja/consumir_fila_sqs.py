"""
# consumir_fila_sqs

When messages begin to wait, and on demand: takes what waits in `produto-fila`, `pedido-fila` and `usuario-fila` (Amazon
SQS, connection `sqs_loja`; each with `-alta` and `-baixa` beside it) and stores it in the store's database (connection
`mysql_loja`), each message exactly once by its id, the urgent first. A message is deleted from its queue after it is
stored. One that is refused is tried again twice, then it lies in `…-mortas` with the attribute `motivo`; poison goes
there at once. To use more consumers, or only some queues, or to try dead letters again, trigger

```json
{"filas": ["pedido-fila"], "consumidores": 8, "lote": 200, "reviver": true}
```

The task `medir` returns `{total, sucessos, falhas, taxa}` of the run for each queue; the same is in `metricas_filas`, of
the store's database and of the warehouse, and in the metrics `loja.messages` and `loja.success_rate`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Asset, AssetAny, AssetWatcher, dag

from dags.loja.queue_tasks import PARAMS, SETTINGS, wire
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.tags import Tag
from include.loja.queues.message import QUEUES
from include.loja.queues.waiting import MessagesWait

# One of each queue, and each queue's watcher runs in the triggerer.
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
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.LOJA],
    params=PARAMS,
)
def consumir_fila_sqs() -> None:
    """Wire the tasks of a queue worker."""
    wire("sqs")


consumir_fila_sqs()
