"""Direct requests of tests to Airflow's REST API, to prepare and to check."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import requests

from local.deployment.settings import Settings
from trigger.address import API
from trigger.wire import Wire


class Rest:
    """The API as one user asks it, each question once; a context manager. Answers are returned whatever their status.

    Raises a TriggerError for no answer, and for those that time heals (trigger.wire.TRANSIENT).
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self._wire = Wire(url, username=username, password=password, connect_timeout=30, cache=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        root: str = API,
    ) -> requests.Response:
        """Return the answer of a path below `root`."""
        return self._wire.answer(method, f"{root}{path}", query=params, body=json, once=True)

    def get(self, path: str, **request: Any) -> requests.Response:
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> requests.Response:
        return self.request("POST", path, **request)

    def put(self, path: str, **request: Any) -> requests.Response:
        return self.request("PUT", path, **request)

    def patch(self, path: str, **request: Any) -> requests.Response:
        return self.request("PATCH", path, **request)

    def delete(self, path: str, **request: Any) -> requests.Response:
        return self.request("DELETE", path, **request)

    def token(self) -> str:
        """Return the token of this user."""
        return self._wire.token()


def token(url: str, username: str, password: str) -> str:
    """Return a new token."""
    with Rest(url, username, password) as user:
        return user.token()


def admin(settings: Settings) -> Rest:
    """Return the API as the deployment's admin asks it."""
    return Rest(settings.url, settings.admin_user, settings.admin_password)
