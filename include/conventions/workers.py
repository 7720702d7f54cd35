"""What a worker is called where Airflow shows it: with each task in the UI, and to whoever fetches the task's log."""

from __future__ import annotations

import os
import socket

VARIABLE = "WORKER_NAME"


def hostname() -> str:
    """Return `WORKER_NAME`, else the machine's name; Airflow's `[core] hostname_callable`.

    Where task logs are fetched from the worker, the API server must be able to resolve the name.
    """
    return os.environ.get(VARIABLE) or socket.gethostname()
