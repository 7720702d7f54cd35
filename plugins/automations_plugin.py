"""Registers the automations' REST service with the API server. The code is in include/tarefas/api.

Airflow imports this file in every process, including those of tasks, but only the API server reads the properties. So the
app is created when a property is read.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin


class AutomationsPlugin(AirflowPlugin):
    """The service at `/scheduler`, and the check of calls that are made through Airflow's own API."""

    name = "automations"

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        from include.tarefas.api.app import create_app
        from include.tarefas.api.middleware import PREFIX

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "Automations"}]

    @cached_property
    def fastapi_root_middlewares(self) -> list[Any]:  # type: ignore[override]
        from include.tarefas.api.middleware import CheckCalls, LineBreaks, OnlyStarts

        return [
            {"middleware": CheckCalls, "name": "Calls of automations"},
            {"middleware": OnlyStarts, "name": "What the user who starts jobs may do"},
            {"middleware": LineBreaks, "name": "Paths with a line break"},
        ]
