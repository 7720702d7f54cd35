"""What the buttons do: each starts a run of one of the mirror's DAGs, with the caller's token.

Airflow itself checks the permission and the conf, and writes its audit log. There is no second way to start a run.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from include.conventions import own_api
from include.pages.warehouse.mirrors import Place

Deed = Literal["reconcile", "again", "rebuild"]


class Request(BaseModel):
    """What a button asks for. `inicio` and `fim` are for `again` alone."""

    model_config = ConfigDict(extra="forbid")

    mirror: str = Field(max_length=250)
    deed: Deed
    tables: list[str] = Field([], max_length=1000)
    inicio: str | None = Field(None, max_length=40)
    fim: str | None = Field(None, max_length=40)


class Started(BaseModel):
    """The run that was started. `link` is its address in the UI, from the page's own."""

    dag_id: str
    run_id: str
    link: str


def conf(body: Request) -> dict[str, Any]:
    """Return the conf of the run. Raises HTTPException 422 for a request that is not complete."""
    if body.deed == "again":
        if not body.inicio or not body.fim:
            raise HTTPException(422, "give the start and the end of the range")
        span = {"inicio": body.inicio, "fim": body.fim}
        return {**span, "tabelas": body.tables} if body.tables else span
    if body.inicio or body.fim:
        raise HTTPException(422, f"{body.deed} takes no range: leave inicio and fim out")
    if body.deed == "rebuild":
        if not body.tables:
            raise HTTPException(422, "choose at least one table to rebuild")
        return {"reconstruir": body.tables}
    return {"tabelas": body.tables} if body.tables else {}


async def start(place: Place, body: Request, token: str) -> Started:
    """Start the run. Raises HTTPException with Airflow's own status and reason."""
    dag_id = place.compares if body.deed == "reconcile" else place.moves
    path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"
    answer = await own_api.ask("POST", path, token, {"logical_date": None, "conf": conf(body)})
    if not answer.is_success:
        raise HTTPException(answer.status_code if answer.status_code < 500 else 503, _reason(answer))
    run_id = answer.json()["dag_run_id"]
    return Started(
        dag_id=dag_id,
        run_id=run_id,
        link=f"../dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}",
    )


def _reason(answer: Any) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"Airflow answered {answer.status_code}"
    if isinstance(detail, list):
        return "; ".join(str(one.get("msg", one)) if isinstance(one, dict) else str(one) for one in detail)
    return str(detail)
