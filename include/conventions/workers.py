"""What a worker is called where Airflow shows it: with each task in the UI, and to whoever fetches the task's log."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from include.conventions.settings import FromEnvironment, text


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """Of a worker."""

    name: str = text(
        "WORKER_NAME",
        "",
        meaning="name of the worker in the UI; empty: the machine's name",
    )


def hostname() -> str:
    """Return `WORKER_NAME`, else the machine's name; Airflow's `[core] hostname_callable`.

    Where task logs are fetched from the worker, the API server must be able to resolve the name.
    """
    return Settings.load().name or socket.gethostname()
