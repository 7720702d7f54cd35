"""
# atualizacao_precos

Every day at 02:00 in `LOJA_FUSO`: reads the supplier's price list (`LOJA_PRECOS_ORIGEM`, an address or a file, CSV or
JSON), and changes the prices in `produtos` (connection `mysql_loja`) in one transaction, with their history in
`precos_historico`.

A line must name a product that is there and a price above 0, or it is left out, with its reason. A change of more than
`LOJA_PRECOS_LIMITE_PERCENTUAL` waits for a person: **Browse → Required Actions**, or the task `aprovar`. Until there is
an answer nothing of the list is applied; with none after `LOJA_PRECOS_ESPERA_HORAS` these changes are refused, and the
others applied. What became of each line stands in `precos_propostos`, what of the list in `listas_precos`.

There is nothing to set but the queue:

```json
{"queue": "high"}
```
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import CronTriggerTimetable, TriggerRule, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.conventions.tags import Tag
from include.loja import settings

SETTINGS = settings.Prices.load()
APPROVE, REFUSE = "Aprovar", "Recusar"


@dag(
    # The list of the moment, not of an interval.
    schedule=CronTriggerTimetable("0 2 * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.LOJA],
)
def atualizacao_precos() -> None:
    """Wire reading, asking and applying together."""

    @task
    @explained
    def ler_lista() -> list[str]:
        from include.loja.tasks import atualizacao_precos as work

        return work.read(SETTINGS, get_current_context()["run_id"])

    # Mapped over no or one question: without a change beyond the limit nobody is asked.
    asked = ler_lista()
    aprovar = HITLOperator.partial(
        task_id="aprovar",
        subject="Prices that change by more than the limit",
        options=[APPROVE, REFUSE],
        defaults=REFUSE,
        response_timeout=SETTINGS.patience,
    ).expand(body=asked)

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    @explained
    def aplicar(answers: Any) -> dict[str, int]:
        from include.loja.tasks import atualizacao_precos as work

        answer = next(iter(answers or []), None)
        approved = answer is not None and answer["chosen_options"] == [APPROVE]
        person = (answer or {}).get("responded_by_user")
        return work.apply(get_current_context()["run_id"], approved, person["name"] if person else None)

    aplicar(aprovar.output)


atualizacao_precos()
