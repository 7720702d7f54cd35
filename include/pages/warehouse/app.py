"""The FastAPI app of the page, mounted at `/warehouse`.

All pages are HTML without anything from elsewhere: the policy forbids it. One script shows the dialogs, follows the theme of
Airflow's UI, and opens links in it. Without the script, everything can be read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from include.conventions.errors import RequestError
from include.marts import results
from include.pages.warehouse import access, act, charts, look, mirrors, state
from include.pages.warehouse.access import GetUserDep
from include.pages.warehouse.mirrors import Place
from include.vendas import sales
from include.vendas.tables import VENDAS

PREFIX = "/warehouse"
HERE = Path(__file__).parent
STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
MOST_CITIES = 15
SALES_KEPT = 60.0

_sales: look.Cache[sales.Sales] = look.Cache(SALES_KEPT)
_builds: look.Cache[results.Build | None] = look.Cache(look.KEPT)


def create_app() -> FastAPI:
    """Return the app. Every route has a user."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    def index(request: Request, user: GetUserDep) -> HTMLResponse:
        places = _seen(request, user)
        views = look.views(places)
        sells = _sales_mirror(places)
        # The mirror whose sales the marts are made of shows their last run, too.
        marts = {sells.label: results.DAG_ID} if sells and _sees_marts(request, user) else {}
        dags = [dag_id for place in places for dag_id in (place.moves, place.compares)]
        runs = mirrors.runs([*dags, *marts.values()])
        acts = {place.label for place in places if access.may_act(request, user, place)}
        return _page("index", views=views, runs=runs, acts=acts, sells=sells, marts=marts)

    @app.get("/table")
    def table(request: Request, user: GetUserDep, mirror: str, table: str) -> HTMLResponse:
        place = _place(request, user, mirror)
        [view] = look.views([place])
        found = next((one for one in view.tables if one.name == table), None)
        if found is None and not view.away:
            raise HTTPException(404, f"mirror {mirror} has no table {table}")
        history, away = state.History(), view.away
        if found is not None:
            try:
                with look.open_client(place.warehouse) as client:
                    history = state.history(client, place.views, table)
            except Exception as error:  # noqa: BLE001 - it is shown
                away = look.error_line(error)
        return _page("table", place=place, name=table, table=found, history=history, away=away)

    @app.get("/sales")
    def show_sales(request: Request, user: GetUserDep, de: str = "", ate: str = "") -> HTMLResponse:
        if not (place := _sales_mirror(_seen(request, user))):
            raise HTTPException(403, f"user {user.get_name()} may not see the mirror {VENDAS.name}")
        found, problem, span = None, None, sales.Range.of("", "", datetime.now(UTC).date())
        build, run, sees_marts = None, None, _sees_marts(request, user)
        try:
            span = sales.Range.of(de, ate, datetime.now(UTC).date())
        except RequestError as error:
            problem = str(error)
        else:
            try:
                found = _sales.get((place, span), lambda: _read_sales(place, span))
                if sees_marts:
                    build = _builds.get(place, lambda: _read_build(place))
                    run = mirrors.runs([results.DAG_ID]).get(results.DAG_ID)
            except Exception as error:  # noqa: BLE001 - it is shown
                problem = f"The warehouse does not answer: {look.error_line(error)}"
        return _page(
            "sales", sales=found, span=span, problem=problem, cities=MOST_CITIES, build=build, run=run
        )

    @app.post("/runs", dependencies=[Depends(access.check_origin)])
    async def start(request: Request, user: GetUserDep, body: act.Request) -> act.Started:
        place = _place(request, user, body.mirror)
        return await act.start(place, body, access.token(request))

    @app.get("/{file}")
    def static(user: GetUserDep, file: str) -> Response:
        if file not in STATIC:
            raise HTTPException(404, f"the page has no file {file}")
        headers = {**HEADERS, "Cache-Control": "private, max-age=300"}
        return FileResponse(HERE / "static" / file, media_type=STATIC[file], headers=headers)

    return app


def _seen(request: Request, user: Any) -> list[Place]:
    return [place for place in mirrors.find() if access.may_see(request, user, place)]


def _place(request: Request, user: Any, label: str) -> Place:
    """Return a mirror by its name. The answer is 404 both if there is none and if the user may not see it."""
    for place in _seen(request, user):
        if place.label == label:
            return place
    raise HTTPException(404, f"there is no mirror {label} that user {user.get_name()} may see")


def _sales_mirror(places: list[Place]) -> Place | None:
    """Return the mirror that has the sales."""
    return next((place for place in places if place.label == VENDAS.label), None)


def _sees_marts(request: Request, user: Any) -> bool:
    return access.may_see_runs(request, user, results.DAG_ID)


def _read_build(place: Place) -> results.Build | None:
    with look.open_client(place.warehouse) as client:
        return results.read(client)


def _read_sales(place: Place, span: sales.Range) -> sales.Sales:
    with look.open_client(place.warehouse) as client:
        return sales.read(client, place.views, span)


def _page(template: str, /, **values: Any) -> HTMLResponse:
    return HTMLResponse(_template(template).render(now=datetime.now(UTC), **values), headers=HEADERS)


@cache
def _template(name: str) -> Any:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "strip": lambda table: Markup(  # noqa: S704 - charts escape their texts
            charts.strip(
                f"{table.name}: rows of the last {len(table.windows)} reads", table.windows, state.CELLS
            )
        ),
        "columns": lambda title, sums: Markup(charts.columns(title, _bars(sums))),  # noqa: S704
        "bars": lambda title, sums: Markup(charts.rows(title, _bars(sums))),  # noqa: S704
    }
    environment.filters |= {"moment": state.moment, "duration": state.duration, "money": charts.money}
    return environment.get_template(f"{name}.html.j2")


def _bars(sums: list[sales.Sum]) -> list[charts.Bar]:
    return [charts.Bar(one.name, float(one.value), charts.money(one.value)) for one in sums]
