"""The FastAPI app of the service."""

from __future__ import annotations

from fastapi import FastAPI

from include.tarefas.api import errors, jobs, page, queue, tasks
from include.tarefas.api.middleware import SmallBodies

DESCRIPTION = """
Runs the functions of a folder of automations, now or later, on the queues `high`, `default` and `low`. Each call is a run
of the DAG `executar_tarefa`, with its log and result in Airflow's UI.

**Authorize** takes a token of `POST /auth/token`. To look, the login of the UI is enough; whatever changes something
needs the token in the header `Authorization: Bearer …`, also by GET.
"""


def create_app() -> FastAPI:
    """Return the app that the API server mounts at `/scheduler`."""
    app = FastAPI(
        title="Automations",
        version="1.0",
        description=DESCRIPTION,
        # FastAPI's own pages would be open to anyone; page.py serves them only to logged-in users.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    errors.install(app)
    app.add_middleware(SmallBodies)
    for router in (tasks.router, queue.router, jobs.router, page.router):
        app.include_router(router)
    return app
