"""A tab on each DAG's page: the last runs, with their results and retries.

Airflow's own page shows the extra of one asset event at a time, collapsed. This table has a row for each run: its state,
the tries of its tasks above the first (Airflow's retries, and tasks that somebody cleared), and the extra of its asset
events: the text `resumo`, and all numbers. It reads only Airflow's own database. Only users who may see the DAG's runs
and its assets see the page.
"""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

PREFIX = "/glance"
RUNS = 30
# The page may load nothing, and no other site may embed it.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
STYLE = """
body { font: 14px system-ui, sans-serif; margin: 1em; color-scheme: light dark; }
table { border-collapse: collapse; } th, td { padding: .3em .9em .3em 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid; } td.number, th.number { text-align: right; }
td:first-child { white-space: nowrap; }
.success { color: #1a7f37; } .failed { color: #d1242f; font-weight: bold; } .running { color: #0969da; }
"""


@dataclass(frozen=True)
class Row:
    """A run: its own time, its state, its duration (s), its tasks' tries above the first, and its asset events' extras."""

    run_id: str
    moment: datetime
    state: str
    seconds: float | None
    more_tries: int
    extras: tuple[Mapping[str, Any], ...]


def create_app() -> FastAPI:
    """Return the app, which has one page per DAG."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_asset, requires_access_dag
    from fastapi import Depends, FastAPI
    from fastapi.responses import HTMLResponse

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get(
        "/{dag_id}",
        dependencies=[
            Depends(requires_access_dag("GET", DagAccessEntity.RUN)),
            Depends(requires_access_asset("GET")),
        ],
    )
    def show(dag_id: str) -> HTMLResponse:
        return HTMLResponse(page(read(dag_id)), headers=HEADERS)

    return app


def read(dag_id: str) -> list[Row]:
    """Return the last `RUNS` runs of a DAG, the newest first."""
    from airflow.models.asset import AssetEvent
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        runs = session.execute(
            select(DagRun.run_id, DagRun.run_after, DagRun.state, DagRun.start_date, DagRun.end_date)
            .where(DagRun.dag_id == dag_id)
            .order_by(DagRun.run_after.desc())
            .limit(RUNS)
        ).all()
        ids = [run.run_id for run in runs]
        more_tries: Counter[str] = Counter()
        for run_id, tries in session.execute(
            select(TaskInstance.run_id, TaskInstance.try_number).where(
                TaskInstance.dag_id == dag_id, TaskInstance.run_id.in_(ids)
            )
        ):
            more_tries[run_id] += max(0, tries - 1)
        extras = last_words(
            session.execute(
                select(AssetEvent.source_run_id, AssetEvent.asset_id, AssetEvent.extra)
                .where(AssetEvent.source_dag_id == dag_id, AssetEvent.source_run_id.in_(ids))
                .order_by(AssetEvent.id)
            ).tuples()
        )
    return [
        Row(
            run.run_id,
            run.run_after,
            str(run.state),
            (run.end_date - run.start_date).total_seconds() if run.end_date and run.start_date else None,
            more_tries[run.run_id],
            extras.get(run.run_id, ()),
        )
        for run in runs
    ]


def last_words(
    events: Iterable[tuple[str | None, int, Mapping[str, Any]]],
) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """Return the last extra of each asset by run. `events` are (run, asset, extra) in their order.

    A run that was cleared has several events of an asset, of which the last one counts. A run may have several assets.
    """
    found: defaultdict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for run, asset, extra in events:
        found[str(run)][asset] = extra
    return {run: tuple(extras.values()) for run, extras in found.items()}


def page(rows: Iterable[Row]) -> str:
    """Return the page as HTML, with all values escaped."""
    body = "".join(_row(row) for row in rows) or '<tr><td colspan="6">no run yet</td></tr>'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Runs</title><style>{STYLE}</style></head>'
        '<body><table><thead><tr><th>run after (UTC)</th><th>state</th><th class="number">seconds</th>'
        '<th class="number">task tries above the first</th><th>what it found</th><th>in numbers</th></tr></thead>'
        f"<tbody>{body}</tbody></table></body></html>"
    )


def _row(row: Row) -> str:
    said = " / ".join(str(extra["resumo"]) for extra in row.extras if "resumo" in extra)
    numbers = ", ".join(
        f"{name} {value}"
        for extra in row.extras
        for name, value in extra.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    state, title = html.escape(row.state), html.escape(row.run_id)
    return (
        f'<tr><td title="{title}">{row.moment:%Y-%m-%d %H:%M:%S}</td><td class="{state}">{state}</td>'
        f'<td class="number">{seconds}</td><td class="number">{row.more_tries}</td>'
        f"<td>{html.escape(said)}</td><td>{html.escape(numbers)}</td></tr>"
    )
