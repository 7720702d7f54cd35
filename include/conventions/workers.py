"""The name of a worker: Airflow shows it with each task in the UI, and fetches the task's log from it."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from include.conventions.settings import FromEnvironment, text


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """The settings of a worker."""

    name: str = text(
        "WORKER_NAME",
        "",
        meaning="name of the worker in the UI; empty: the machine's name",
    )


def hostname() -> str:
    """Return `WORKER_NAME`, else the machine's name. It is Airflow's `[core] hostname_callable`.

    If task logs are fetched from the worker, the API server must be able to resolve the name.
    """
    return Settings.load().name or socket.gethostname()
