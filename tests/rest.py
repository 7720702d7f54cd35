"""Airflow's REST API as tests ask it themselves, to prepare a thing or to see what became of it."""

from __future__ import annotations

import httpx

from local.deployment.settings import Settings


def token(url: str, username: str, password: str) -> str:
    """Return a new token."""
    answer = httpx.post(f"{url}/auth/token", json={"username": username, "password": password}, timeout=30)
    return str(answer.raise_for_status().json()["access_token"])


def admin(settings: Settings) -> httpx.Client:
    """Return a client of the API v2 that is logged in as the deployment's admin; a context manager."""
    headers = {"Authorization": f"Bearer {token(settings.url, settings.admin_user, settings.admin_password)}"}
    return httpx.Client(base_url=f"{settings.url}/api/v2", headers=headers, timeout=30)
