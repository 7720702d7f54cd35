"""Middleware: the limits on bodies, and the check of calls through Airflow's own API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from airflow.api_fastapi.core_api.security import get_user
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.tarefas import catalog, settings
from include.tarefas.api.access import DAG_ID, changer
from include.tarefas.errors import CatalogError, RequestError
from include.tarefas.jobs.connections import ROLE
from include.tarefas.request import resolve

LARGEST_BODY = 256 * 1024
"""In bytes. The limit of a call (`plain.LARGEST`) is lower, but a body with escapes is longer than its call."""
LONGEST_BODY = 60.0
"""In seconds, from the request's head to the last byte of its body. No thread waits for a body, but a connection does."""
PREFIX = "/scheduler"
"""The path at which the service is mounted."""
TRIGGER = f"/api/v2/dags/{DAG_ID}/dagRuns"


class SmallBodies:
    """For the service's app: answers 413 for a body above `LARGEST_BODY` bytes, counted while it is read.

    Answers 408 for a body that has not arrived after `LONGEST_BODY` seconds.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, _counted(receive), send)


class CheckCalls:
    """For the API server itself: refuses to create a run of executar_tarefa for a wrong call.

    Airflow's Params can't find a missing argument of a function. So the body of `POST …/executar_tarefa/dagRuns`, which
    the UI, programs and this service send, is first checked against the automations. A wrong call gets 400 and
    `{"detail": "…"}`, as Airflow answers for wrong Params, and no run is created. Users who may not trigger the DAG, and
    bodies that are not calls, get Airflow's own answer. Only a body above `LARGEST_BODY` bytes gets 413, and a slow
    one 408, whoever sends it: Airflow reads and parses a body before it looks who sent it.

    A valid call is passed on to Airflow with its conf in the form that runs store (trigger/calls.py).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _triggers(scope):
            await self.app(scope, receive, send)
            return
        receive = _counted(receive)
        request = Request(scope, receive)
        # First, so that nothing of a stranger's body is read or parsed here.
        if not await _may_trigger(request):
            await self.app(scope, receive, send)
            return
        try:
            body = await request.body()
        except HTTPException as refusal:
            answer = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
            await answer(scope, receive, send)
            return
        checked = await run_in_threadpool(_checked, body)
        if isinstance(checked, JSONResponse):
            await checked(scope, receive, send)
            return
        scope["headers"] = _with_length(scope["headers"], len(checked))
        left = [checked]

        async def again() -> Message:
            if left:
                return {"type": "http.request", "body": left.pop(), "more_body": False}
            return await receive()

        await self.app(scope, again, send)


class OnlyStarts:
    """For the API server itself: the user who starts jobs may change nothing but create runs of executar_tarefa.

    Airflow lets a user create runs of a DAG only if the user may edit the DAG, and so may pause it, too. And who may create
    runs of executar_tarefa may also change jobs. So a user who has no role but that of the jobs gets 403 for every other
    request that changes something, in the form of the API that was asked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answerer: ASGIApp = self.app
        if _changes(scope) and (name := await _starts_jobs(Request(scope))):
            said = f"user {name} may only start and see runs of {DAG_ID}"
            key = "message" if _path(scope).startswith(f"{PREFIX}/") else "detail"
            answerer = JSONResponse({key: said}, 403)
        await answerer(scope, receive, send)


class LineBreaks:
    """For the API server itself: answers 404 for a path below /scheduler that contains a line break.

    Starlette does not route such a path to the service. Airflow would answer it, in another form than the service documents.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answerer: ASGIApp = self.app
        if scope["type"] == "http" and "\n" in scope["path"]:
            path: str = scope["path"]
            if path.removeprefix(scope.get("root_path", "")).startswith(f"{PREFIX}/"):
                answerer = JSONResponse({"message": "Not Found"}, 404)
        await answerer(scope, receive, send)


def _counted(receive: Receive) -> Receive:
    """Return `receive` with limits: it raises the HTTPException 413 or 408 once a body is too large or takes too long."""
    size, deadline, complete = 0, 0.0, False

    async def counted() -> Message:
        nonlocal size, deadline, complete
        if complete:
            # The next message is that the client has gone, which may take any time.
            return await receive()
        deadline = deadline or asyncio.get_running_loop().time() + LONGEST_BODY
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(
                408, f"the body took longer than {LONGEST_BODY:g} seconds", {"Connection": "close"}
            ) from None
        complete = not message.get("more_body", False)
        size += len(message.get("body", b""))
        if size > LARGEST_BODY:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY:,} bytes")
        return message

    return counted


def _triggers(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    return _path(scope) == TRIGGER


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _changes(scope: Scope) -> bool:
    """Return whether a request to one of the APIs for people changes something else than that a run is created.

    The service changes something by GET, too (`/scheduler/clean-queue`).
    """
    if scope["type"] != "http" or _triggers(scope):
        return False
    path = _path(scope)
    if path.startswith(f"{PREFIX}/"):
        return scope["method"] not in ("GET", "HEAD", "OPTIONS") or path == f"{PREFIX}/clean-queue"
    return path.startswith("/api/v2/") and scope["method"] not in ("GET", "HEAD", "OPTIONS")


async def _starts_jobs(request: Request) -> str | None:
    """Return the name of the user who asks, if it has the role of the jobs and no other."""
    try:
        user = await get_user(request, None, await HTTPBearer(auto_error=False)(request))
    except HTTPException:
        return None
    # Only the users of FAB have several roles.
    names = [role.name for role in getattr(user, "roles", ())]
    return user.get_name() if names == [ROLE] else None


def _checked(body: bytes) -> bytes | JSONResponse:
    """Return the body with its call in the stored form, or the answer to a wrong call. Other bodies stay unchanged."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(asked, dict):
        return body
    conf = asked.get("conf")
    try:
        call = resolve({} if conf is None else conf, catalog.load(settings.load().modules_path))
    except RequestError as error:
        return JSONResponse({"detail": str(error)}, 400)
    except CatalogError as error:
        return JSONResponse({"detail": str(error)}, 503)
    return body if conf == call.conf() else json.dumps({**asked, "conf": call.conf()}).encode()


def _with_length(headers: Iterable[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    return [(name, b"%d" % length if name == b"content-length" else value) for name, value in headers]


async def _may_trigger(request: Request) -> bool:
    try:
        user = await get_user(request, None, await HTTPBearer(auto_error=False)(request))
        await run_in_threadpool(changer, request, user)
    except HTTPException:
        return False
    return True
