"""What stands before the routes: a bound on bodies, and the check of calls that come by Airflow's own API."""

from __future__ import annotations

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
from include.tarefas.request import resolve

LARGEST_BODY = 256 * 1024
"""Bytes. A call may have fewer (`plain.LARGEST`); written with escapes it is longer than it is."""
PREFIX = "/scheduler"
"""Where the service is mounted."""
TRIGGER = f"/api/v2/dags/{DAG_ID}/dagRuns"


class SmallBodies:
    """Of the service's app: a body is read up to `LARGEST_BODY` bytes, whatever its headers say; then 413."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY:
                raise HTTPException(413, f"the body is larger than {LARGEST_BODY:,} bytes")
            return message

        await self.app(scope, counted, send)


class CheckCalls:
    """Of the API server itself: no run of executar_tarefa is made for a call that its automation would not take.

    Airflow's Params can't tell that a function lacks an argument. So the body of `POST …/executar_tarefa/dagRuns`, which
    the UI, programs and this service itself send, is held against the automations first; a wrong call is answered 400
    as Airflow answers for Params, `{"detail": "…"}`, and nothing is made. Who may not trigger learns nothing here: Airflow
    answers them, and whatever is no call at all.

    A right call goes on to Airflow with its conf in the one shape that runs hold (trigger/calls.py).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _triggers(scope):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        checked = await run_in_threadpool(_checked, body)
        if isinstance(checked, bytes):
            body = checked
            scope["headers"] = _with_length(scope["headers"], len(body))
        elif await _may_trigger(request):
            await checked(scope, receive, send)
            return
        left = [body]

        async def again() -> Message:
            if left:
                return {"type": "http.request", "body": left.pop(), "more_body": False}
            return await receive()

        await self.app(scope, again, send)


class LineBreaks:
    """Of the API server itself: no path below /scheduler that holds a line break is anything's.

    Starlette mounts nothing for such a path, so that Airflow would answer it, in another form than this service documents.
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


def _triggers(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) == TRIGGER


def _checked(body: bytes) -> bytes | JSONResponse:
    """Return the body with its call in the one shape, or the answer to a wrong call. What is no call stays as it is."""
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
