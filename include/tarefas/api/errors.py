"""The form of all errors: the service answers every error with `{"message": "…"}`.

A route raises FastAPI's `HTTPException(status, "what is wrong, and what would be right")`. Other errors are handled here:
bodies and queries that FastAPI refuses (422, naming each field), wrong calls (`RequestError`, 422), a folder of automations
that can't be read (503), and unexpected errors (500 without details; the traceback is in the server's log).

A router declares the errors of its routes with `responses=answers(404, 409)`, for the OpenAPI document. `COMMON` are the
statuses that every route has, `BODY` those of a route with a body.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from include.tarefas import plain
from include.tarefas.errors import CatalogError, RequestError


class Message(BaseModel):
    """The body of every error."""

    message: str = Field(examples=["there is no queue 'urgent'; there are high, default, low"])


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that answers errors with these statuses."""
    return {status: {"model": Message, "description": HTTPStatus(status).phrase} for status in statuses}


COMMON = (401, 403)
BODY = (400, 408, 413, 422)
"""For every route that reads a body: not JSON, too slow, too large, not valid for the route."""


def install(app: FastAPI) -> None:
    """Install the handlers for all errors of the app."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(RequestError, _wrong_call)
    app.add_exception_handler(CatalogError, _no_catalog)
    app.add_exception_handler(Exception, _unforeseen)


def _answer(status: int, message: str, headers: Any = None) -> JSONResponse:
    # The request may contain a lone surrogate, which JSON can escape but UTF-8 can't encode.
    return JSONResponse({"message": message.encode(errors="backslashreplace").decode()}, status, headers)


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    message, headers = str(error.detail), error.headers
    if error.status_code == 405:
        headers = {"Allow": ", ".join(_methods(request))}
    elif (
        message == "There was an error parsing the body"
    ):  # FastAPI's message for anything but a syntax error
        message = "the body can't be read as JSON: it is no UTF-8, nested too deeply, or has a number that is too long"
    return _answer(error.status_code, message, headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of all routes with this path; the framework returns those of the first route only."""
    found = set()
    for route in request.app.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            found |= route.methods
    return sorted(found)


def _wrong_call(request: Request, error: Exception) -> JSONResponse:
    return _answer(422, str(error))


def _no_catalog(request: Request, error: Exception) -> JSONResponse:
    return _answer(503, str(error))


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    return _answer(500, "the server failed to answer this; its log says why")


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return _answer(422, "; ".join(_sentence(one) for one in error.errors()))


def _sentence(error: Any) -> str:
    """Turn one of pydantic's errors into a sentence with the field's name and its value."""
    where = [str(part) for part in error["loc"]]
    field = ".".join(where[1:]) or f"the {where[0]}"
    if error["type"] == "missing":
        return f"{field} is missing"
    if error["type"] == "extra_forbidden":
        return f"there is no field {plain.brief(field)}"
    if error["type"] == "json_invalid":
        return f"the body is no JSON: {error['ctx']['error']} at character {where[-1]}"
    if isinstance(error.get("input"), bytes):
        return "the body must be JSON, with the header Content-Type: application/json"
    if error["type"] == "value_error" and not where[1:]:
        # A check of several fields together, whose message names them.
        return str(error["ctx"]["error"])
    text = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{field} {text[:1].lower()}{text[1:]}, and is {plain.brief(error.get('input'))}"
