"""The page Warehouse in a real browser: people log in, read, act, and do so with the keyboard and on a phone. Also the
trigger form of etl_vendas.

`make pictures` keeps the pictures that these tests take, for the READMEs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from tests.browser import chromium
from tests.e2e.conftest import DAG_ID
from tests.e2e.runs import ended, scheduled, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Frame, Page

COMPARES, MARTS = "reconciliar_vendas", "marts_vendas"
TABLES = ("pais", "cidade", "cliente", "produto", "venda", "item_venda")
PHONE = {"width": 360, "height": 740}
PICTURES = "PICTURES"
"""The variable that names the folder for pictures."""


@pytest.fixture(scope="module")
def moved(deployment: Deployment, api: AirflowApi) -> None:
    """All rows are in the warehouse, and nobody sells. A run that overlaps with another may succeed before that one ends."""
    counts = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS rows FROM {name}" for name in TABLES)

    def is_moved() -> bool:
        succeeded = api.call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns", params={"state": "success"})
        if not succeeded["total_entries"]:
            return False
        with psycopg.connect(deployment.settings.source_dsn) as source:
            expected: dict[str, int] = dict(source.execute(counts.encode()).fetchall())
        try:
            return expected == dict(asked(deployment, counts))
        except DatabaseError:
            return False  # A view that waits for old rows is not there yet.

    if not is_moved():
        with scheduled(api, DAG_ID):
            until(deployment, is_moved)


@pytest.fixture(scope="module")
def browser(moved: None) -> Iterator[Browser]:
    with chromium() as running:
        yield running


def asked(deployment: Deployment, query: str) -> list[tuple[Any, ...]]:
    with closing(deployment.clickhouse.client()) as client:
        client.database = "vendas_dw"
        return [tuple(row) for row in client.query(query).result_rows]


@contextmanager
def logged_in(
    browser: Browser, deployment: Deployment, user: str, expected: str | None = None, **options: Any
) -> Iterator[BrowserContext]:
    """Log in through Airflow's form, and check at the end that the console has no error but the expected one."""
    settings = deployment.settings
    name, password = {
        "viewer": ("viewer", settings.viewer_password),
        "operator": ("operator", settings.operator_password),
    }[user]
    context = browser.new_context(base_url=settings.url, locale="en-GB", **options)
    complaints: list[str] = []
    context.on(
        "weberror",
        # Airflow's own pages may complain.
        lambda error: (
            complaints.append(str(error.error)) if "/warehouse/" in (error.error.stack or "") else None
        ),
    )
    context.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type == "error" and "/warehouse" in said.location["url"]
            else None
        ),
    )
    page = context.new_page()
    page.goto("/auth/login/")
    page.locator("#username").fill(name)
    page.locator("#password").fill(password)
    page.locator("form[name=login] input[type=submit]").click()
    page.wait_for_url(lambda url: "/auth/login" not in url)
    page.close()
    yield context
    context.close()
    assert [one for one in complaints if not expected or expected not in one] == []


def framed(context: BrowserContext) -> tuple[Page, Frame]:
    """Open the page by Airflow's navigation, and return it with its frame."""
    page = context.new_page()
    page.goto("/plugin/warehouse")
    element = page.wait_for_selector("iframe[title=Warehouse]")
    assert element is not None
    inner = element.content_frame()
    assert inner is not None
    inner.wait_for_selector("h1")
    return page, inner


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get(PICTURES):
        page.screenshot(path=Path(folder) / f"{name}.png")


def violations(page: Page) -> list[str]:
    """Return what axe finds in a page: rule and element. It is put in past the page's policy, which allows no script."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate("async () => JSON.stringify((await axe.run()).violations)")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in json.loads(found)
        for node in one["nodes"]
    ]


def test_an_operator_runs_a_range_again_with_the_form_and_the_marts_follow(
    deployment: Deployment, api: AirflowApi, browser: Browser
) -> None:
    began = datetime.now(UTC)
    with logged_in(browser, deployment, "operator") as context:
        page = context.new_page()
        page.goto(f"/dags/{DAG_ID}")
        page.get_by_role("button", name="Trigger").first.click()
        form = page.get_by_role("dialog").filter(has_text=f"Trigger Dag - {DAG_ID}")
        # The first picker is that of the logical date.
        for place, day in ((1, "2026/01/01"), (2, "2026/01/02")):
            form.get_by_test_id("datetime-input").nth(place).click()
            picker = page.locator("[data-scope=popover][data-part=content][data-state=open]")
            picker.get_by_placeholder("YYYY/MM/DD").fill(day)
            picker.get_by_placeholder("HH:mm").fill("00:00")
            picker.get_by_placeholder("HH:mm").press("Enter")
            form.get_by_text("Início", exact=True).click()
            picker.wait_for(state="hidden")
        choice = form.get_by_role("combobox", name="Select one or multiple values").first
        choice.click()
        assert page.get_by_role("option").all_inner_texts() == list(TABLES)
        page.get_by_role("option", name="venda", exact=True).click()
        choice.click()
        page.get_by_role("option", name="item_venda", exact=True).click()
        with page.expect_response("**/dagRuns") as answer:
            form.get_by_role("button", name="Trigger").click()
        run = answer.value.json()
        # The marts start by themselves when rows have moved; the range above holds none.
        with scheduled(api, MARTS):
            with scheduled(api, DAG_ID):
                with psycopg.connect(deployment.settings.source_dsn) as source:
                    source.execute(
                        "UPDATE venda SET entregue = 'S' WHERE venda_id = (SELECT min(venda_id) FROM venda)"
                    )
                assert ended(deployment, api, DAG_ID, run["dag_run_id"]).state == "success"
                until(deployment, lambda: api.runs(MARTS, began))
            [built, *_] = api.runs(MARTS, began)
            assert built.run_type == "asset_triggered"
            assert ended(deployment, api, MARTS, built.run_id).state == "success"
        page.goto("/warehouse/sales")
        assert "11 of 11 models built, all tests passed" in page.locator(".foot").first.inner_text()
        models = asked(deployment, "SELECT DISTINCT modelo FROM vendas_marts.resultados ORDER BY modelo")
        rows = page.locator("tr[data-model]").all_inner_texts()
        assert [row.split("\t")[:2] for row in rows] == [[name, "built"] for (name,) in models]
        assert violations(page) == []
    assert {name: value for name, value in run["conf"].items() if value is not None} == {
        "inicio": "2026-01-01T00:00:00.000Z",
        "fim": "2026-01-02T00:00:00.000Z",
        "tabelas": ["venda", "item_venda"],
    }
    moved = asked(
        deployment,
        "SELECT DISTINCT tabela, toString(toDate(inicio)), toString(toDate(fim)) FROM cargas"
        f" WHERE run_id = '{run['dag_run_id']}' AND tabela IN {TABLES} ORDER BY tabela",
    )
    assert moved == [(name, "2026-01-01", "2026-01-02") for name in ("item_venda", "venda")]


def test_an_operator_reads_and_acts(deployment: Deployment, api: AirflowApi, browser: Browser) -> None:
    counts = {name: asked(deployment, f"SELECT count() FROM {name}")[0][0] for name in TABLES}
    with logged_in(browser, deployment, "operator", viewport={"width": 1280, "height": 900}) as context:
        page, inner = framed(context)
        for name, count in counts.items():
            card = inner.locator(f"li[data-table={name}]")
            assert f"{count:,}" in card.locator("dt:text-is('Rows in the warehouse') + dd").inner_text()
            assert card.locator("svg.strip rect").count() > 0
        # It follows the theme of the UI around it.
        for theme in ("dark", "light"):
            page.evaluate(f"document.documentElement.className = '{theme}'")
            inner.wait_for_selector(f":root[data-theme={theme}]")

        inner.get_by_role("button", name="Reconcile now").click()
        dialog = inner.locator("dialog[open]")
        for name in TABLES:
            dialog.get_by_label(name, exact=True).check()
        dialog.get_by_role("button", name="Reconcile", exact=True).click()
        run_id = dialog.get_by_role("status").get_by_role("link").inner_text()
        with scheduled(api, COMPARES):
            assert ended(deployment, api, COMPARES, run_id).state == "success"
        # The link leaves the frame.
        dialog.get_by_role("status").get_by_role("link").click()
        page.wait_for_url(f"**/dags/{COMPARES}/runs/**")

        page, inner = framed(context)
        # It follows if the schedule has been paused for long.
        inner.wait_for_selector(
            "li[data-table=pais] .word:text-matches('^(equal, compared [0-9:]{5}|follows, .* behind)$')"
        )
        assert "equal" in inner.locator("li[data-table=pais] dt:text-is('Last comparison') + dd").inner_text()
        runs = inner.locator("dl.runs")
        assert runs.locator("dt:text-is('Last reconciliation') + dd").inner_text().startswith("success")
        picture(page, "warehouse")

        inner.locator("li[data-table=venda]").get_by_role("link").click()
        inner.wait_for_selector("h1:text-is('vendas: venda')")
        assert "no difference" in inner.locator("article.comparison").first.inner_text()
        inner.get_by_role("link", name="All tables").click()
        inner.get_by_role("link", name="Sales").click()
        ((last,),) = asked(deployment, "SELECT toString(max(data)) FROM venda")
        inner.locator("input[name=de]").fill(last[:8] + "01")
        inner.locator("input[name=ate]").fill(last)
        inner.get_by_role("button", name="Show").click()
        inner.wait_for_url(f"**/sales?de={last[:8]}01&ate={last}")
        ((count, value, delivered),) = asked(
            deployment,
            "SELECT count(), sum(valor_total), countIf(entregue = 'S') FROM venda"
            f" WHERE data BETWEEN '{last[:8]}01' AND '{last}'",
        )
        shown = {
            name: inner.locator(f"[data-total={name}]").inner_text()
            for name in ("sales", "value", "delivered")
        }
        assert shown == {
            "sales": f"{count:,}",
            "value": f"{value:,.2f}",
            "delivered": f"{delivered / count:.1%}",
        }
        assert inner.locator("svg.chart").count() == 4
        inner.locator("summary:text-is('By day in numbers')").click()
        assert inner.get_by_role("cell", name=last, exact=True).is_visible()
        picture(page, "vendas-painel")


def test_a_viewer_sees_the_same_and_can_not_act(deployment: Deployment, browser: Browser) -> None:
    with logged_in(browser, deployment, "viewer", "status of 403") as context:
        page, inner = framed(context)
        assert inner.locator("li.table").count() == len(TABLES)
        assert inner.get_by_role("button").count() == 0
        page.goto("/warehouse/")
        status = page.evaluate(
            """async () => (await fetch("runs", {method: "POST", headers: {"Content-Type": "application/json"},
            body: '{"mirror": "vendas", "deed": "reconcile"}'})).status"""
        )
        assert status == 403


def test_with_the_keyboard_on_a_phone_and_for_screen_readers(
    deployment: Deployment, browser: Browser
) -> None:
    with logged_in(browser, deployment, "operator", viewport=PHONE, color_scheme="dark") as context:
        page = context.new_page()
        for path in (
            "/warehouse/",
            "/warehouse/table?mirror=vendas&table=venda",
            "/warehouse/sales?ate=2026-01-31",
        ):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
            for scheme in ("dark", "light"):
                page.emulate_media(color_scheme=scheme)
                assert violations(page) == [], (path, scheme)
        page.goto("/warehouse/")
        focused = "document.activeElement.textContent"
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate(focused) == "Rebuild a table":
                break
        page.keyboard.press("Enter")
        assert page.locator("dialog[open] h2").inner_text() == "Rebuild tables of vendas?"
        assert violations(page) == []
        page.keyboard.press("Space")
        assert page.locator("dialog[open] :checked").count() == 1
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0
        assert page.evaluate(focused) == "Rebuild a table"
