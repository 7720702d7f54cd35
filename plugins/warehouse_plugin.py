"""Registers the page "Warehouse" in Airflow's navigation. The code is in include/pages/warehouse.

Airflow imports this file in every process, including those of tasks, but only the API server reads the properties. So the
app is created when a property is read.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin


class WarehousePlugin(AirflowPlugin):
    """The page, and the entry of the navigation that shows it."""

    name = "warehouse"
    external_views = [  # noqa: RUF012 - as Airflow declares it
        {
            "name": "Warehouse",
            "href": "/warehouse/",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "warehouse",
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        from include.pages.warehouse.app import PREFIX, create_app

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "Warehouse"}]
