"""Celery's configuration is Airflow's, and a worker loads libraries before it forks."""

from __future__ import annotations

import importlib
import sys

import pytest

from include.conventions import celery as settings
from local.deployment.compose import airflow_environment, defaults


def test_all_of_airflows_own_settings_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.celery.executors.celery_executor_utils import get_celery_configuration
    from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

    name = "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS"
    shared = airflow_environment({key: value or "x" for key, value in defaults().items()})
    monkeypatch.setenv(name, shared[name])
    read = get_celery_configuration.__wrapped__()
    assert read == {**DEFAULT_CELERY_CONFIG, "imports": settings.LIBRARIES}


@pytest.mark.parametrize("library", settings.LIBRARIES)
def test_what_a_worker_loads_is_a_library(library: str) -> None:
    """Code of the project would be that of when the worker started."""
    importlib.import_module(library)
    file = sys.modules[library].__file__
    assert file is not None
    assert "site-packages" in file
