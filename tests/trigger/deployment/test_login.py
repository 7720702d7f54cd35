"""The permissions of users, with both auth managers."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.deployment.stack import Deployment
from tests.trigger.script import Script
from tests.trigger.users import User

ASKED = ("--list", "--tag", "fast", "-o", "plain")


@pytest.fixture
def nobody(alone: Script, tmp_path: Path, deployment: Deployment) -> Script:
    """The script with an address, its own home and cache, and no user."""
    return alone.having(HOME=tmp_path, AIRFLOW_API_URL=deployment.settings.url)


@pytest.fixture
def somebody(nobody: Script, viewer: User) -> Script:
    """The same, as a user with few permissions."""
    return nobody.having(AIRFLOW_USERNAME=viewer.name, AIRFLOW_PASSWORD=viewer.password)


def test_who_may_only_look_may_not_trigger(somebody, run_ids):
    before = run_ids("quick")
    done = somebody("--dag-id", "quick")
    assert done.code == 4
    [line] = done.err.splitlines()
    assert "Forbidden" in line
    assert somebody.environment["AIRFLOW_USERNAME"] in line
    assert run_ids("quick") == before


def test_the_simple_auth_manager_knows_its_own_users(nobody, simple, run_ids):
    at = nobody.having(AIRFLOW_API_URL=simple.url)
    ana = at.having(AIRFLOW_USERNAME=simple.admin.name, AIRFLOW_PASSWORD=simple.admin.password)
    rui = at.having(AIRFLOW_USERNAME=simple.viewer.name, AIRFLOW_PASSWORD=simple.viewer.password)
    good = ana("--dag-id", "quick", "--run-id", "by-ana", "-o", "json")
    assert good.code == 0, good.err
    assert good.json()["triggered_by"] == simple.admin.name
    assert "by-ana" in run_ids("quick")
    assert rui(*ASKED).code == 0
    assert rui("--dag-id", "quick").code == 4
    assert rui.having(AIRFLOW_PASSWORD="wrong")(*ASKED).code == 4
