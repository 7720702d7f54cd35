"""The default arguments of every DAG's tasks. A DAG may override some; a test checks that each DAG starts from these."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from include.conventions import alerts

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "dados",
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
    "execution_timeout": timedelta(minutes=10),
    "on_failure_callback": [alerts.on_failure],
    "on_retry_callback": [alerts.on_retry],
}
