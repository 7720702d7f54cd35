"""Who may see and who may act: Airflow's users and permissions, for each mirror.

To see a mirror, one needs the right to see the runs of its DAG `etl_<name>`; to act, to trigger runs of both of its DAGs. To
see the results of the marts, one needs the right to see the runs of `marts_vendas`.
Every route has a user: tests/include/pages/warehouse asks each of them without one.

The page acts with the cookie of the UI, which a browser sends for other sites, too. So a request that acts must be JSON,
which a form of another site can't send, and come from this origin. With the header `Authorization` neither is needed: no
other site can make a browser send it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import HTTPException, Request

from include.pages.warehouse.mirrors import Place

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod

__all__ = ["GetUserDep", "check_origin", "may_act", "may_see", "may_see_runs", "token"]


def _may(request: Request, user: BaseUser, method: ResourceMethod, dag_id: str) -> bool:
    try:
        requires_access_dag(method, DagAccessEntity.RUN, dag_id)(request, user)
    except HTTPException:
        return False
    return True


def may_see(request: Request, user: BaseUser, place: Place) -> bool:
    """Return whether a user may see a mirror."""
    return may_see_runs(request, user, place.moves)


def may_see_runs(request: Request, user: BaseUser, dag_id: str) -> bool:
    """Return whether a user may see the runs of a DAG."""
    return _may(request, user, "GET", dag_id)


def may_act(request: Request, user: BaseUser, place: Place) -> bool:
    """Return whether a user may start runs of a mirror's DAGs."""
    return all(_may(request, user, "POST", dag_id) for dag_id in (place.moves, place.compares))


def token(request: Request) -> str:
    """Return the token with which the caller has logged in: the header's, or else the cookie's."""
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return given if kind.lower() == "bearer" else request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")


def check_origin(request: Request, user: GetUserDep) -> None:
    """Raise HTTPException 415 for a body that is not JSON, and 403 for a request that another site may have caused."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send JSON, with Content-Type: application/json")
    if "Authorization" in request.headers:
        return
    origin = urlsplit(request.headers.get("Origin", "")).netloc
    if not origin or origin not in _own(request):
        raise HTTPException(403, "this request does not come from this site's own page")


def _own(request: Request) -> set[str]:
    from airflow.configuration import conf

    own = {request.headers.get("Host", ""), urlsplit(str(conf.get("api", "base_url", fallback=""))).netloc}
    return own - {""}
