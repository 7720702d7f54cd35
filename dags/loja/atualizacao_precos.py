"""
# atualizacao_precos

Every day at 02:00 in `LOJA_FUSO`: reads the supplier's price list (`LOJA_PRECOS_ORIGEM`, an address or a file, CSV or
JSON), and changes the prices in `produtos` (connection `mysql_loja`) in one transaction. `precos_historico` keeps the old
and new prices.

A line must have the id of an existing product and a price above 0. Other lines are left out, with a reason. A change of
more than `LOJA_PRECOS_LIMITE_PERCENTUAL` waits for a person's answer: **Browse → Required Actions**, or the task `aprovar`.
Until then, no line of the list is applied. Without an answer after `LOJA_PRECOS_ESPERA_HORAS`, these changes are refused
and the others are applied. An answer holds for the changes that it was given for: if `ler_lista` is cleared while `aprovar`
waits, and the list has other changes now, `aprovar` asks again. The result of each line is in `precos_propostos`, that of
the list in `listas_precos`.

The conf can only set the queue:

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
    # A run reads the present list: it needs no data interval.
    schedule=CronTriggerTimetable("0 2 * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"queue": settings.Workers.load().products},
    doc_md=__doc__,
    tags=[Tag.LOJA],
)
def atualizacao_precos() -> None:
    """Wire the tasks: read, ask, apply."""

    @task
    @explained
    def ler_lista() -> list[dict[str, Any]]:
        from include.loja.tasks import atualizacao_precos as work

        questions = work.read(SETTINGS, get_current_context()["run_id"])
        # The answer to approve names the changes. So an answer to an earlier question is none to this one.
        return [{"body": one.text, "options": [f"{APPROVE} {one.digest}", REFUSE]} for one in questions]

    # Mapped over a list of at most one question: it is empty if no change is beyond the limit.
    asked = ler_lista()
    aprovar = HITLOperator.partial(
        task_id="aprovar",
        subject="Prices that change by more than the limit",
        defaults=REFUSE,
        response_timeout=SETTINGS.patience,
    ).expand_kwargs(asked)

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    @explained
    def aplicar(answers: Any) -> dict[str, int]:
        from include.loja.tasks import atualizacao_precos as work

        answer = next(iter(answers or []), None)
        chosen, _, digest = (answer["chosen_options"][0] if answer else REFUSE).partition(" ")
        person = (answer or {}).get("responded_by_user")
        approved = digest if chosen == APPROVE else None
        return work.apply(get_current_context()["run_id"], approved, person["name"] if person else None)

    aplicar(aprovar.output)


atualizacao_precos()
