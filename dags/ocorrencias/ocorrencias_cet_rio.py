"""
# ocorrencias_cet_rio

Every 20 minutes: reads the traffic incidents of Rio's operations centre (connection `http_dados_rio`), and counts those for
which CET-RIO is responsible by procedure (POP) and status. Each incident counts once.

- The counts are appended to `ocorrencias_por_categoria.csv`, in the folder `OCORRENCIAS_PASTA`.
- Counts and single events are in ClickHouse (connection `clickhouse_dw`), database `ocorrencias`: views `contagens`,
  `eventos_atuais`, `por_bairro_e_hora`, `recusados`, `coletas`.

**Where to see retries and counts**: in each run's asset event `ocorrencias_cet_rio` (below **Asset Events**), in the label
of its task `resumir`, and in the table in that task's log. A replay emits `ocorrencias_cet_rio_replay` instead.

A missed run is not repeated later, because the service knows only the present. If a run has collected already, clearing it
does not collect again: trigger a new run. To collect the events since a day of the last 29, and accept stale ones, use

```json
{"data": "2026-01-31", "aceitar_desatualizados": true}
```

To use recorded answers instead of the service, with a database (`ocorrencias_replay`) and a CSV file of their own, use

```json
{"modo": "replay", "gravacao": "manha"}
```
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    Asset,
    AssetAlias,
    CronTriggerTimetable,
    Metadata,
    Param,
    dag,
    get_current_context,
    task,
)

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.conventions.tags import Tag
from include.ocorrencias import settings

SETTINGS = settings.Settings.load()
COUNTS = Asset("ocorrencias_cet_rio", uri="x-clickhouse://clickhouse_dw/ocorrencias")
REPLAYED = Asset("ocorrencias_cet_rio_replay", uri="x-clickhouse://clickhouse_dw/ocorrencias_replay")
# A task emits all of its outlets. With an alias, it chooses the asset when it runs.
EITHER = AssetAlias("ocorrencias_cet_rio")
MARGIN = timedelta(minutes=2)


@dag(
    # A run reads the present: it needs no data interval, and there is nothing to catch up on.
    schedule=CronTriggerTimetable(SETTINGS.schedule, timezone="America/Sao_Paulo"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # A run that hangs delays one other run at most.
    dagrun_timeout=timedelta(minutes=20),
    default_args=DEFAULT_ARGS | {"retries": 2},
    doc_md=__doc__,
    tags=[Tag.OCORRENCIAS],
    params={
        "modo": Param(
            "servico",
            type="string",
            enum=["servico", "replay"],
            title="Modo",
            description="servico reads from the service; replay reads recorded answers, and writes to its own database.",
        ),
        "gravacao": Param(
            None,
            type=["null", "string"],
            pattern=r"^[a-z0-9_]{1,60}$",
            title="Gravação",
            description="The recording to replay: manha, tarde or noite, unless OCORRENCIAS_GRAVACOES has others.",
        ),
        "data": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Data",
            description="Events that began on this day (São Paulo) or later, at most 29 days back. Empty: the run's day.",
        ),
        "aceitar_desatualizados": Param(
            False,
            type="boolean",
            title="Aceitar desatualizados",
            description="Accept events that the service marks as stale, and mark the run.",
        ),
    },
)
def ocorrencias_cet_rio() -> None:
    """Wire the tasks: collect, append to the CSV, summarize."""

    @task(execution_timeout=timedelta(seconds=SETTINGS.policy.limit) + MARGIN)
    @explained
    def coletar() -> dict[str, Any]:
        from include.ocorrencias import etl

        context = get_current_context()
        run = context["dag_run"]
        return etl.collect_run(SETTINGS, run.conf or {}, context["run_id"], run.logical_date or run.run_after)

    @task
    @explained
    def anexar_csv(resumo: Any) -> int:
        from include.ocorrencias import etl

        return etl.append_csv(SETTINGS, resumo)

    @task(outlets=[EITHER], map_index_template="{{ resumo_da_execucao }}")
    @explained
    def resumir(resumo: dict[str, Any]) -> Any:
        from include.conventions import alerts
        from include.ocorrencias import etl

        context = get_current_context()
        context["resumo_da_execucao"] = etl.headline(resumo)  # type: ignore[typeddict-unknown-key]
        print(etl.report(resumo))  # noqa: T201
        if names := etl.unknown_pops(resumo):
            alerts.notice(
                context, f"pops {names}", f"the service's list of POPs lacks {names}", timedelta(days=7)
            )
        asset = REPLAYED if resumo["gravacao"] else COUNTS
        yield Metadata(asset, extra={"resumo": etl.headline(resumo)} | resumo, alias=EITHER)

    collected = coletar()
    anexar_csv(collected) >> resumir.expand(resumo=[collected])


ocorrencias_cet_rio()
