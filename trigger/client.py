"""The client for Python code: the requests to Airflow and to the automations' service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from trigger.address import DEFAULT_URL
from trigger.operations.automations import Automations
from trigger.operations.backfills import Backfills
from trigger.operations.jobs import Jobs
from trigger.operations.mirrors import Mirrors
from trigger.wire import Wire


class AirflowClient(Automations, Mirrors, Backfills, Jobs):
    """Airflow's REST API v2, with retries, renewed tokens and errors that people can read.

    `url` is the address of the UI. `token` is used instead of `username` and `password`. `ca` names a file of certificates
    to trust. If the API can't be reached, or answers 429, 502, 503 or 504, requests are retried for `connect_timeout`
    seconds. With `cache`, tokens are stored in a file that only its owner can read. `ask_password` is called when a password
    is needed and none was given.

    Every method may raise a TriggerError: RequestRefused, NotFound, NotAllowed or ApiUnavailable. Use a client in one thread
    only.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca: str | Path | None = None,
        connect_timeout: float = 20.0,
        cache: bool = True,
        ask_password: Callable[[], str] | None = None,
        trace: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(
            Wire(
                url,
                username=username,
                password=password,
                token=token,
                ca=ca,
                connect_timeout=connect_timeout,
                cache=cache,
                ask_password=ask_password,
                trace=trace,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()
