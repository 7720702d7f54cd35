"""Access control: the users and permissions of Airflow, for each route of the service.

A route declares one of these as a parameter, and gets Airflow's user:

    @router.get("/jobs")
    def list_jobs(user: Reader) -> …

    @router.post("/jobs")
    def add_job(user: Changer, …) -> …

| parameter | right in Airflow               | shown by                                              |
|-----------|--------------------------------|-------------------------------------------------------|
| `Reader`  | to see the DAG executar_tarefa | `Authorization: Bearer …`, or the cookie of the UI    |
| `Changer` | to trigger executar_tarefa     | `Authorization: Bearer …` alone                       |
| `Remover` | to delete its runs             | `Authorization: Bearer …` alone                       |

**Every route that changes something requires the header**, even if its method is GET. Another site can make a browser send a
request with the cookie, but not with the header. If a request has both, the header counts.

No login, an expired or invalid token, or a token of a deleted user: 401. A user without the permission: 403. Airflow's auth
manager decides both. Only a body that is not JSON, or too large, is refused earlier. A route without one of these parameters
would be open to anyone: tests/e2e/test_security.py calls every route without a login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod

DAG_ID = "executar_tarefa"

_bearer = HTTPBearer(auto_error=False, description="A token of `POST /auth/token`.")
_cookie = APIKeyCookie(
    name=COOKIE_NAME_JWT_TOKEN,
    auto_error=False,
    description="Set by Airflow when somebody logs in; enough to read, never to change anything.",
)

Token = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
Cookie = Annotated[str | None, Depends(_cookie)]


async def _user(request: Request, token: HTTPAuthorizationCredentials | None) -> BaseUser:
    try:
        return await get_user(request, None, token)
    except HTTPException as refusal:
        # Airflow answers 403 for an invalid token. No user is known then, so this service answers 401.
        raise _unknown(f"{refusal.detail}: log in, or get a token from POST /auth/token") from None


def _unknown(message: str) -> HTTPException:
    return HTTPException(401, message, {"WWW-Authenticate": "Bearer"})


async def by_header_or_cookie(request: Request, token: Token, cookie: Cookie) -> BaseUser:
    """Return the user of the header, or else the user of the cookie."""
    return await _user(request, token)


async def by_header(request: Request, token: Token) -> BaseUser:
    """Return the user of the header."""
    if token is None:
        raise _unknown("this needs the header Authorization: Bearer <token>; a cookie is not enough")
    return await _user(request, token)


def _require(request: Request, user: BaseUser, method: ResourceMethod, runs: bool, act: str) -> BaseUser:
    entity = DagAccessEntity.RUN if runs else None
    try:
        requires_access_dag(method, entity, DAG_ID)(request, user)
    except HTTPException as refusal:
        if refusal.status_code != 403:
            raise
        raise HTTPException(403, f"user {user.get_name()} may not {act}") from None
    return user


def reader(request: Request, user: Annotated[BaseUser, Depends(by_header_or_cookie)]) -> BaseUser:
    return _require(request, user, "GET", False, f"see the DAG {DAG_ID}")


def changer(request: Request, user: Annotated[BaseUser, Depends(by_header)]) -> BaseUser:
    return _require(request, user, "POST", True, f"trigger the DAG {DAG_ID}")


def remover(request: Request, user: Annotated[BaseUser, Depends(by_header)]) -> BaseUser:
    return _require(request, user, "DELETE", True, f"delete runs of the DAG {DAG_ID}")


Reader = Annotated[BaseUser, Depends(reader)]
Changer = Annotated[BaseUser, Depends(changer)]
Remover = Annotated[BaseUser, Depends(remover)]
