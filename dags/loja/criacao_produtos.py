"""
# criacao_produtos

Every minute, one run at a time: takes each product that waits in `produtos_pendentes` (connection `mysql_loja`) through
three steps:

| step | tries | what happens |
|---|---|---|
| `processar` | 1 + 3 | brings name, category and price into the catalogue's form; a message goes to `produto-fila` |
| `validar` | 1 + 2 | checks that the stock is counted and is not negative |
| `catalogar` | 1 + 3 | adds the product to `produtos`, or changes it there |

A later run repeats a failed try after `LOJA_CRIACAO_ESPERA_SEGUNDOS` (60): no run waits for a product, and no product waits
for another. A product whose tries are used up, or whose content is wrong, gets the state `falhou` and the reason in
`motivo`. `produtos_eventos` has every step. To repeat failed products after their cause is fixed, trigger it with

```json
{"repetir": [12, 15]}
```

or with `{"repetir_todos": true}` for all of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, TriggerRule, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.conventions.tags import Tag
from include.loja import settings

SETTINGS = settings.Creation.load()


@dag(
    # A run works on the waiting products: it needs no data interval.
    schedule=CronTriggerTimetable("* * * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"queue": settings.Workers.load().products},
    doc_md=__doc__,
    tags=[Tag.LOJA],
    params={
        "repetir": Param(
            None,
            type=["null", "array"],
            items={"type": "integer", "minimum": 1},
            minItems=1,
            maxItems=1000,
            title="Repetir",
            description="Put failed products back to the first step: a list of pendente_id.",
        ),
        "repetir_todos": Param(
            False,
            type="boolean",
            title="Repetir todos",
            description="Put all failed products back to the first step.",
        ),
    },
)
def criacao_produtos() -> None:
    """Wire the tasks: claim, work, send messages."""

    @task
    @explained
    def reservar() -> list[list[int]]:
        from include.loja.tasks import criacao_produtos as work

        context = get_current_context()
        params = context["params"]
        return work.claim(SETTINGS, context["run_id"], params["repetir"], params["repetir_todos"])

    @task
    @explained
    def criar(lote: list[int]) -> dict[str, int]:
        from include.loja.tasks import criacao_produtos as work

        return work.create(SETTINGS, get_current_context()["run_id"], lote)

    # Runs also after a failed batch or without one: an earlier run may have left unsent messages. The timeout is short,
    # because the next run waits for this one if the broker hangs; it sends the rest.
    @task(trigger_rule=TriggerRule.ALL_DONE, retries=1, execution_timeout=timedelta(minutes=2))
    @explained
    def avisar(lotes: Any) -> dict[str, int]:
        from include.loja.tasks import criacao_produtos as work

        # None if reservar failed, otherwise a list.
        return work.notify(SETTINGS, get_current_context()["run_id"], lotes is not None)

    claimed = reservar()
    criar.expand(lote=claimed) >> avisar(claimed)


criacao_produtos()
