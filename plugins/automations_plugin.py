"""Registers the automations' REST service with the API server; the code is in include/tarefas/api.

Airflow imports this in every process, those of tasks too. What is registered is asked for by the API server alone, so
it is made when it is asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin


class AutomationsPlugin(AirflowPlugin):
    """The service at `/scheduler`, and the check of calls that come by Airflow's own API."""

    name = "automations"

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        from include.tarefas.api.app import create_app
        from include.tarefas.api.middleware import PREFIX

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "Automations"}]

    @cached_property
    def fastapi_root_middlewares(self) -> list[Any]:  # type: ignore[override]
        from include.tarefas.api.middleware import CheckCalls, LineBreaks

        return [
            {"middleware": CheckCalls, "name": "Calls of automations"},
            {"middleware": LineBreaks, "name": "Paths with a line break"},
        ]
