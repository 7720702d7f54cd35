"""All settings of the project on one page: `python -m include.settings` prints docs/settings.md."""

from __future__ import annotations

import sys

from include.airflow_mirror import settings as mirror
from include.conventions import alerts, pools, workers
from include.conventions.settings import FromEnvironment, Setting
from include.loja import settings as loja
from include.marts import settings as marts
from include.ocorrencias import settings as ocorrencias
from include.tarefas import settings as automations
from include.tarefas.jobs import settings as jobs

HEAD = """\
# Settings

All settings are variables of the environment; in Docker, set them in `.env`. They are read when the DAG's file is loaded. A
wrong value is an import error of that DAG, which names the variable, its value and what would be right.

A duration is at most ten years. A folder without a leading slash is relative to the project.

(`make settings` writes this page from the code; a test compares it.)
"""

CHAPTERS: tuple[tuple[str, str, tuple[type[FromEnvironment], ...]], ...] = (
    (
        "Mirrors",
        "`{NAME}` is the mirror's name in capitals: `ETL_VENDAS_SCHEDULE` for `vendas`.",
        (mirror.Settings,),
    ),
    ("Marts", "For the DAG `marts_vendas`.", (marts.Settings,)),
    ("Traffic incidents", "For the DAG `ocorrencias_cet_rio`.", (ocorrencias.Settings,)),
    (
        "Store",
        "For the DAGs in `dags/loja/`.",
        (loja.Timetables, loja.Workers, loja.Creation, loja.Prices, loja.Queues, loja.Transfer, loja.Copy),
    ),
    ("Automations", "For the DAG `executar_tarefa`.", (automations.Settings,)),
    ("Jobs", "For the DAG `agendar_jobs`.", (jobs.Settings,)),
    ("Alerts", "", (alerts.Settings,)),
    ("Pools", "`python -m include.conventions.pools` sets the pools' slots to these values.", (pools.Slots,)),
    ("Workers", "", (workers.Settings,)),
)


def page() -> str:
    """Return docs/settings.md."""
    parts = [HEAD]
    for title, words, groups in CHAPTERS:
        rows = [_row(setting) for group in groups for setting in group.listed()]
        table = "\n".join(["| variable | default | accepted | meaning |", "|---|---|---|---|", *rows])
        parts.append("\n".join(filter(None, [f"## {title}\n", f"{words}\n" if words else "", f"{table}\n"])))
    return "\n".join(parts)


def _row(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    cells = (f"`{setting.variable}`", default, setting.accepts, setting.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
