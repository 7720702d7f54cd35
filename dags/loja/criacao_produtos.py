"""
# criacao_produtos

Every minute, and never two at once: takes the products that wait in `produtos_pendentes` (connection `mysql_loja`), and
takes each one through three steps:

| step | tries | what happens |
|---|---|---|
| `processar` | 1 + 3 | name, category and price in the catalogue's form; downstream is told by `produto-fila` |
| `validar` | 1 + 2 | the stock is counted and is not negative |
| `catalogar` | 1 + 3 | the product is added to `produtos`, or changed there |

A try that failed is repeated after 60 s, by a later run: no run waits for a product, and no product for another. When its
tries are used up, or its content is wrong, it is in the state `falhou`, with the reason in `motivo`; every step is in
`produtos_eventos`. To repeat failed products once their cause is mended, trigger

```json
{"repetir": [12, 15]}
```

or `{"repetir_todos": true}` for all of them.
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
    # What waits decides, not an interval.
    schedule=CronTriggerTimetable("* * * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
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
            description="pendente_id of failed products to begin again.",
        ),
        "repetir_todos": Param(
            False, type="boolean", title="Repetir todos", description="Begin all failed products again."
        ),
    },
)
def criacao_produtos() -> None:
    """Wire claiming, working and telling together."""

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

    # Also after a batch that failed, and where there was none: a notice may be left from an earlier run. With a broker that
    # hangs it does not hang long: the next run waits for this one, and sends what is left.
    @task(trigger_rule=TriggerRule.ALL_DONE, retries=1, execution_timeout=timedelta(minutes=2))
    @explained
    def avisar(lotes: Any) -> dict[str, int]:
        from include.loja.tasks import criacao_produtos as work

        # There is no list, not even an empty one, where reservar failed.
        return work.tell(SETTINGS, get_current_context()["run_id"], lotes is not None)

    claimed = reservar()
    criar.expand(lote=claimed) >> avisar(claimed)


criacao_produtos()
