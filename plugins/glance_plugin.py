"""Registers the tab "At a glance" on each DAG's page. The code is in include/pages/glance.py.

Airflow imports this file in every process, including those of tasks, but only the API server reads the properties. So the
app is created when a property is read.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin


class GlancePlugin(AirflowPlugin):
    """The page, and the tab that shows it."""

    name = "glance"
    external_views = [  # noqa: RUF012 - as Airflow declares it
        {
            "name": "At a glance",
            "href": "/glance/{DAG_ID}",
            "destination": "dag",
            "url_route": "glance",
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        from include.pages.glance import PREFIX, create_app

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "At a glance"}]
