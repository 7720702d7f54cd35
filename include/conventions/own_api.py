"""Asks Airflow's own REST API, inside the API server, with the caller's token.

So Airflow itself handles permissions, Params, the cluster policy, the audit log and the name of the triggering user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


async def ask(method: str, path: str, token: str, body: dict[str, Any]) -> httpx.Response:
    """Return the answer of the API server that this process is. No error of it is raised here."""
    import httpx

    # This process's own app: creating another instance would start a second API server in the process.
    from airflow.api_fastapi.main import app

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
        return await client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
