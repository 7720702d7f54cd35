"""The OpenAPI document of the service, and the page that shows it, both for users who may see executar_tarefa.

The page is Swagger UI, from Flask-AppBuilder, which Airflow's auth manager depends on. Its files are served here with the
same access control, and the page's policy forbids the browser to load files from other servers.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from fastapi import Path as PathParameter
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, JSONResponse, Response

from include.tarefas.api.access import Reader
from include.tarefas.api.tasks import Automations
from include.tarefas.catalog import Catalog

HERE = Path(__file__).parent / "static"
# Swagger UI sets inline styles in its script, and has its icons in data URLs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)

router = APIRouter(include_in_schema=False)


def assets() -> dict[str, Path]:
    """Return the paths of the files that the page loads, by name."""
    appbuilder = Path(str(files("flask_appbuilder"))) / "static" / "appbuilder"
    return {
        "swagger-ui-bundle.js": appbuilder / "js" / "swagger-ui-bundle.js",
        "swagger-ui.css": appbuilder / "css" / "swagger" / "swagger-ui.css",
        "start.js": HERE / "start.js",
    }


@router.get("/openapi.json")
def document(user: Reader, request: Request, automations: Automations) -> JSONResponse:
    """Return the OpenAPI document, with the names of the automations."""
    app = request.app
    described: dict[str, Any] = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=[{"url": request.scope.get("root_path") or "/"}],
    )
    for schema in described["components"]["schemas"].values():
        _name_automations(schema.get("properties", {}), automations)
    return JSONResponse(described)


def _name_automations(properties: dict[str, Any], automations: Catalog) -> None:
    """Add the names of the automations to the schema of a body, as an enum of its fields."""
    functions = automations.functions
    known = {
        "module": sorted({one.module for one in functions}),
        "function": sorted({one.name for one in functions}),
        "tarefa": sorted({name for one in functions for name in (one.task, one.name)}),
    }
    if functions and known.keys() <= properties.keys():
        for field, names in known.items():
            text = next(one for one in properties[field]["anyOf"] if one["type"] == "string")
            text["enum"] = names


@router.get("/docs")
def page(user: Reader) -> Response:
    """Return the page: Swagger UI."""
    return FileResponse(HERE / "docs.html", headers={"Content-Security-Policy": POLICY})


@router.get("/docs/{asset}")
def asset(user: Reader, asset: Annotated[str, PathParameter()]) -> Response:
    """Return a file that the page loads."""
    try:
        return FileResponse(assets()[asset], headers={"Cache-Control": "private, max-age=3600"})
    except KeyError:
        raise HTTPException(404, f"the page has no file {asset}") from None
