"""Access control: the only user's password, and whether a request may change data."""

from __future__ import annotations

import base64
import binascii
import hmac

from starlette.requests import Request

from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.request import Parameters
from local.servers.clickhouse.statement import Statement


def authenticate(request: Request, known_user: str, known_password: str) -> None:
    """Check user and password. Raises ClickHouseError 516, whose message does not show which of the two is wrong."""
    headers, url = request.headers, request.query_params
    given: list[tuple[str, str]] = []
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        given.append((headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")))
    if "authorization" in headers:
        given.append(_basic(headers["authorization"]))
    if "user" in url or "password" in url:
        given.append((url.get("user", "default"), url.get("password", "")))
    if len(given) > 1:
        raise _authentication_failed(
            "Invalid authentication: it is not allowed to use X-ClickHouse HTTP headers, Authorization HTTP "
            "header and authentication parameters of the URL simultaneously"
        )
    user, password = given[0] if given else ("default", "")
    same_user = hmac.compare_digest(user.encode(), known_user.encode())
    same_password = hmac.compare_digest(password.encode(), known_password.encode())
    if not (same_user and same_password):
        raise _authentication_failed(
            f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
        )


def _basic(header: str) -> tuple[str, str]:
    """Return user and password of an Authorization header."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise _authentication_failed(
            f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported"
        )
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _authentication_failed(
            "Invalid authentication: the Authorization header is no valid Basic one"
        ) from None
    return user, password


def _authentication_failed(message: str) -> ClickHouseError:
    return ClickHouseError(516, "AUTHENTICATION_FAILED", message)


def check_allowed(method: str, parameters: Parameters, statement: Statement) -> None:
    """Raise ClickHouseError 164 if the request may only read, but the statement writes."""
    if statement.read_only:
        return
    if method == "GET":
        raise ClickHouseError(
            164,
            "READONLY",
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should "
            "use method POST for modifying queries.",
        )
    if parameters.url.get("readonly", "0") != "0":
        raise ClickHouseError(164, "READONLY", "Cannot execute query in readonly mode.")
