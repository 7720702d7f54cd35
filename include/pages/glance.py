"""A tab on each DAG's page: the last runs, with their results and retries.

Airflow's own page shows the extra of one asset event at a time, collapsed. This table has a row for each run: its state,
the tries of its tasks above the first (Airflow's retries, and tasks that somebody cleared), and the extra of its asset
events: the text `resumo`, and all numbers. If some events have a `resumo`, only their numbers are shown: the events of
single tables would repeat them. A failed run shows the last line of its error, for users who may read logs, and a link.
If the DAG's server does not answer, the page says so.

It reads only Airflow's own database. Only users who may see the DAG's runs and its assets see the page.
"""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_asset, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse

from include.conventions import reasons
from include.conventions.reasons import Reason
from include.pages import servers

PREFIX = "/glance"
RUNS = 30
# The page may load only the script of the page Warehouse, which follows the UI's theme and opens links in the UI. No other
# site may embed it.
SCRIPT = "../warehouse/page.js"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}
STYLE = """
body { font: 14px system-ui, sans-serif; margin: 1em; color-scheme: light dark; }
:root[data-theme=dark] body { color-scheme: dark; background: #111418; color: #e8ebef; }
:root[data-theme=light] body { color-scheme: light; }
table { border-collapse: collapse; } th, td { padding: .3em .9em .3em 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid; } td.number, th.number { text-align: right; }
td:first-child { white-space: nowrap; }
.success { color: #1a7f37; } .failed, .why { color: #d1242f; } .failed { font-weight: bold; } .running { color: #0969da; }
:root[data-theme=dark] .success { color: #7fdc9d; } :root[data-theme=dark] :is(.failed, .why) { color: #ff9d9d; }
:root[data-theme=dark] :is(.running, a) { color: #94c6fb; }
"""


@dataclass(frozen=True)
class Row:
    """A run: its own time, its state, its duration (s), its tasks' tries above the first, and its asset events' extras.

    `reason` is the error that a failed task has left. `log` is the address of what has failed in Airflow's UI, from the
    page's own; None if the run has not failed.
    """

    run_id: str
    moment: datetime
    state: str
    seconds: float | None
    more_tries: int
    extras: tuple[Mapping[str, Any], ...]
    reason: Reason | None = None
    log: str | None = None


def create_app() -> FastAPI:
    """Return the app, which has one page per DAG."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get(
        "/{dag_id}",
        dependencies=[
            Depends(requires_access_dag("GET", DagAccessEntity.RUN)),
            Depends(requires_access_asset("GET")),
        ],
    )
    def show(dag_id: str, request: Request, user: GetUserDep) -> HTMLResponse:
        try:
            requires_access_dag("GET", DagAccessEntity.TASK_LOGS)(request, user)
        except HTTPException:
            rows = read(dag_id, with_errors=False)
        else:
            rows = read(dag_id)
        return HTMLResponse(page(rows, servers.lacking(tags(dag_id))), headers=HEADERS)

    return app


def read(dag_id: str, *, with_errors: bool = True) -> list[Row]:
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
        extras = last_extras(
            session.execute(
                select(AssetEvent.source_run_id, AssetEvent.asset_id, AssetEvent.extra)
                .where(AssetEvent.source_dag_id == dag_id, AssetEvent.source_run_id.in_(ids))
                .order_by(AssetEvent.id)
            ).tuples()
        )
    failed = [run.run_id for run in runs if run.state == "failed"]
    left = reasons.read([dag_id], failed) if with_errors else {}
    errors = {run_id: found[-1] for (_, run_id), found in left.items()}
    return [
        Row(
            run.run_id,
            run.run_after,
            str(run.state),
            (run.end_date - run.start_date).total_seconds() if run.end_date and run.start_date else None,
            more_tries[run.run_id],
            extras.get(run.run_id, ()),
            errors.get(run.run_id),
            log_of(dag_id, run.run_id, errors.get(run.run_id)) if run.run_id in failed else None,
        )
        for run in runs
    ]


def tags(dag_id: str) -> list[str]:
    """Return the tags of a DAG."""
    from airflow.models.dag import DagTag
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return list(session.scalars(select(DagTag.name).where(DagTag.dag_id == dag_id)))


def log_of(dag_id: str, run_id: str, reason: Reason | None) -> str:
    """Return the address of the task that has left an error, or of the run without one, from the page's own address."""
    run = f"../dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
    return run if reason is None else f"{run}/{reason.path}"


def last_extras(
    events: Iterable[tuple[str | None, int, Mapping[str, Any]]],
) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """Return the last extra of each asset by run. `events` are (run, asset, extra) in their order.

    A run that was cleared has several events of an asset, of which the last one counts. A run may have several assets.
    """
    found: defaultdict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for run, asset, extra in events:
        found[str(run)][asset] = extra
    return {run: tuple(extras.values()) for run, extras in found.items()}


def page(rows: Iterable[Row], lacking: str | None = None) -> str:
    """Return the page as HTML, with all values escaped. `lacking` is a server that does not answer."""
    warning = f'<p class="why" role="alert">{html.escape(lacking)}</p>' if lacking else ""
    body = "".join(_row(row) for row in rows) or '<tr><td colspan="6">no run yet</td></tr>'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Runs</title><style>{STYLE}</style>'
        f'<script src="{SCRIPT}" defer></script></head>'
        f"<body>{warning}<table>"
        '<thead><tr><th>run after (UTC)</th><th>state</th><th class="number">seconds</th>'
        '<th class="number">task tries above the first</th><th>what it found</th><th>in numbers</th></tr></thead>'
        f"<tbody>{body}</tbody></table></body></html>"
    )


def _row(row: Row) -> str:
    # Assets of single tables speak only where the run has no event of the whole.
    extras = [extra for extra in row.extras if "tabela" not in extra] or row.extras
    summed_up = [extra for extra in extras if "resumo" in extra]
    said = html.escape(" / ".join(str(extra["resumo"]) for extra in summed_up))
    if row.reason is not None:
        said += f'<span class="why">{html.escape(row.reason.plain)}</span>'
    elif row.log is not None:
        said += "no task has left an error:"
    if row.log is not None:
        said += f' <a data-ui href="{html.escape(row.log)}">log</a>'
    numbers = ", ".join(
        f"{name} {value}"
        for extra in summed_up or extras
        for name, value in extra.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    state, title = html.escape(row.state), html.escape(row.run_id)
    return (
        f'<tr><td title="{title}">{row.moment:%Y-%m-%d %H:%M:%S}</td><td class="{state}">{state}</td>'
        f'<td class="number">{seconds}</td><td class="number">{row.more_tries}</td>'
        f"<td>{said}</td><td>{html.escape(numbers)}</td></tr>"
    )
