"""Airflow's REST API as tests ask it themselves, to prepare a thing or to see what became of it."""

from __future__ import annotations

import httpx

from local.deployment.settings import Settings
from trigger.wire import Wire


def token(url: str, username: str, password: str) -> str:
    """Return a new token."""
    wire = Wire(url, username=username, password=password, connect_timeout=30, cache=False)
    try:
        return wire.token()
    finally:
        wire.close()


def admin(settings: Settings) -> httpx.Client:
    """Return a client of the API v2 that is logged in as the deployment's admin; a context manager."""
    headers = {"Authorization": f"Bearer {token(settings.url, settings.admin_user, settings.admin_password)}"}
    return httpx.Client(base_url=f"{settings.url}/api/v2", headers=headers, timeout=30)
