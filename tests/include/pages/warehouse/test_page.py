"""The page on both real servers: its numbers are those of SQL, and it says what is away."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from fastapi.testclient import TestClient

from include.conventions import reasons
from include.conventions.reasons import Reason
from include.marts import results
from include.marts.results import Build, Model, Problem
from include.mirror import state as engine_state
from include.pages.warehouse import access, mirrors
from local.servers.server import free_port
from tests.integration.test_reconcile import damage, look
from tests.lab import Lab, connect

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with")


def text_of(html: str) -> str:
    """Return what a reader sees, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def cards(html: str) -> dict[str, str]:
    """Return what each table's card says, in the order of the page."""
    found = re.findall(r'<li class="table" data-table="([^"]+)".*?</li>', html, re.DOTALL)
    texts = re.findall(r'<li class="table".*?</li>', html, re.DOTALL)
    return dict(zip(found, map(text_of, texts), strict=True))


@pytest.fixture
def sold(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Sales of two days, moved. `venda` has two wrong rows, of which the last comparison knows; `pais` was proved equal."""
    connect(monkeypatch, lab)
    lab.mirror_only("pais", "cidade", "cliente", "produto", "venda", "item_venda")
    with lab.connect() as application:
        for amount in ("10.50", "20.00", "30.25"):
            lab.sell(application, amount)
        lab.sell(application, "100.00", client=2)
        application.execute("UPDATE venda SET entregue = 'S', data = '2026-01-06' WHERE valor_total > 25")
    lab.run()
    damage(
        lab,
        "INSERT INTO vendas_raw.venda (venda_id, cliente_id, data, entregue, valor_total, created_at, updated_at, version,"
        " is_deleted) SELECT venda_id, cliente_id, data, entregue, valor_total + 1, created_at, updated_at, version, 0"
        " FROM vendas_raw.venda WHERE venda_id <= 2",
    )
    look(lab, "pais")
    look(lab, "venda", only_report=True)
    engine_state.note(lab.engine(), "run")
    return lab


def test_the_page_says_what_sql_says(sold: Lab, viewer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Reason(
        "etl_vendas",
        "scheduled__1",
        "mirror",
        0,
        "airflow.sdk.exceptions.AirflowFailException: no <b>GRANT</b>",
    )
    monkeypatch.setattr(reasons, "read", lambda dags, runs: {("etl_vendas", "scheduled__1"): [left]})
    shown = viewer.get("/").text
    found = cards(shown)
    # Worst first.
    assert next(iter(found)) == "venda"
    assert list(found)[-1] == "pais"
    assert "1 differs · 4 never compared · 1 equal" in shown
    assert "Wrong: venda does not equal its source." in shown
    assert re.match(r"venda differs, 2 keys compared \d\d:\d\d: MD5 of every row", found["venda"])
    assert re.search(r"pais equal, compared \d\d:\d\d last equal \d\d:\d\d: MD5 of every row", found["pais"])
    assert "Rows in the warehouse 4 " in found["venda"]
    assert "Rows in the source 4 at " in found["venda"]
    assert "Way window" in found["venda"]
    assert "differs" in found["venda"].partition("Last comparison")[2]
    assert shown.count("<svg") == 6
    # The failed run has its reason, and is text.
    assert "no &lt;b&gt;GRANT&lt;/b&gt;" in shown
    assert 'href="../dags/etl_vendas/runs/scheduled__1/tasks/mirror/mapped/0"' in shown

    table = viewer.get("/table", params={"mirror": "vendas", "table": "venda"}).text
    assert "venda_id = '1': valor_total is '10.50' in the source and '11.50' in the warehouse" in text_of(
        table
    )
    ((loads,),) = sold.query("SELECT count() FROM vendas_dw.cargas WHERE tabela = 'venda' AND rows > 0")
    assert table.count("<tr><td>") == loads
    assert viewer.get("/table", params={"mirror": "vendas", "table": "nenhuma"}).status_code == 404
    assert viewer.get("/table", params={"mirror": "outra", "table": "venda"}).status_code == 404

    check_sales(sold, viewer)
    with monkeypatch.context() as patched:
        check_marts(viewer, patched)
    check_what_is_away(sold, viewer, monkeypatch)


def check_sales(lab: Lab, viewer: TestClient) -> None:
    """The sales are those of the same questions to the warehouse, and the range is respected."""
    whole = viewer.get("/sales", params={"de": "2026-01-01", "ate": "2026-01-31"}).text
    ((count, value, delivered),) = lab.query(
        "SELECT count(), sum(valor_total), countIf(entregue = 'S') FROM vendas_dw.venda"
    )
    assert totals(whole) == {
        "sales": f"{count}",
        "value": f"{value:,.2f}",
        "delivered": f"{delivered / count:.1%}",
    }
    assert numbers(whole, "By state") == {"SP": Decimal("62.75"), "unknown": Decimal("100.00")}
    assert numbers(whole, "By city") == {"São Paulo, SP": Decimal("62.75"), "unknown": Decimal("100.00")}
    assert numbers(whole, "Top products") == {"Café": Decimal("160.75")}
    sold = {day: value for day, value in numbers(whole, "By day").items() if value}
    assert sold == {"2026-01-05": Decimal("32.50"), "2026-01-06": Decimal("130.25")}
    assert len(numbers(whole, "By day")) == 31
    assert "From the mirror's tables, because the marts were never built" in whole
    assert "The last run of the marts failed 2026-01-05 12:00" in text_of(whole)
    assert whole.count("<svg") == 4
    one = viewer.get("/sales", params={"de": "2026-01-06", "ate": "2026-01-06"}).text
    assert totals(one) == {"sales": "2", "value": "130.25", "delivered": "100.0%"}
    none = text_of(viewer.get("/sales", params={"de": "2020-01-01", "ate": "2020-01-02"}).text)
    assert "No sale from 2020-01-01 to 2020-01-02. The newest sale is of 2026-01-06" in none
    assert "de is &#39;x&#39;" in viewer.get("/sales", params={"de": "x"}).text


def check_marts(viewer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results of the marts' last run are shown, what has failed first, to who may see the DAG's runs."""
    at = datetime.now(UTC)
    test = Problem("unique_dim_produto", "fail", "Got 2 results")
    models = [
        Model("dim_cliente", "error", 0.5, "no <b>memory</b>", 3, 0, [], at - timedelta(days=2), 1234),
        Model("dim_produto", "success", 1.25, "OK", 2, 1, [test], at, 77),
        Model("fato_venda", "skipped", 0.0, "", 0, 0, [], None, None),
    ]
    monkeypatch.setattr(results, "read", lambda client: Build(at, models))
    shown = viewer.get("/sales").text
    said = text_of(shown.partition('role="alert"')[2].partition("</div>")[0])
    assert said.endswith(
        "The last run of the marts failed 2026-01-05 12:00: 1 of 3 models built, 1 test did not pass. log "
        "dim_cliente : no <b>memory</b> left out because of that: fato_venda "
        "test unique_dim_produto : fail, Got 2 results"
    )
    assert "<b>memory" not in shown
    assert 'href="../dags/marts_vendas/runs/asset__1"' in shown
    rows = [text_of(row) for row in re.findall(r"<tr data-model.*?</tr>", shown, re.DOTALL)]
    assert rows == [
        f"dim_cliente failed {at - timedelta(days=2):%Y-%m-%d %H:%M} 0.5 1,234 0 of 3",
        f"dim_produto built {at:%H:%M} 1.2 77 1 of 2",
        "fato_venda left out not in the last 30 days 0.0 view no tests",
    ]
    # With a warning alone, the run has succeeded.
    models = [replace(models[1], problems=[test._replace(status="warn")])]
    monkeypatch.setattr(mirrors, "runs", lambda dags: {})
    shown = viewer.get("/sales").text
    assert 'role="alert"' not in shown
    assert "Warning of unique_dim_produto: Got 2 results" in shown
    monkeypatch.setattr(access, "may_see_runs", lambda request, user, dag_id: dag_id != results.DAG_ID)
    shown = viewer.get("/sales").text
    assert "data-model" not in shown
    assert "By state" in shown or "No sale" in shown


def check_what_is_away(lab: Lab, viewer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server that does not answer is named, with the other one's state as far as it is known."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_POSTGRES_VENDAS", f"postgres://reader:s3cr3t@127.0.0.1:{free_port()}/vendas"
    )
    shown = viewer.get("/").text
    assert "The source does not answer" in shown
    assert "differs, 2 keys" in shown
    assert "s3cr3t" not in shown
    connect(monkeypatch, lab, port=free_port())
    for path in ("/", "/table?mirror=vendas&table=venda", "/sales"):
        shown = viewer.get(path).text
        assert "does not answer" in shown, path
        assert lab.clickhouse.password not in shown
        assert "equal" not in cards(shown)


def test_a_warehouse_without_tables_is_not_called_right(
    lab: Lab, viewer: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, lab)
    shown = viewer.get("/").text
    assert "Nothing is mirrored yet" in shown
    assert "word equal" not in shown


def totals(html: str) -> dict[str, Any]:
    return dict(re.findall(r'data-total="(\w+)">([^<]+)<', html))


def numbers(html: str, title: str) -> dict[str, Decimal]:
    """Return name and value of each row of one chart's table."""
    table = html.partition(f"<summary>{title} in numbers")[2].partition("</table>")[0]
    rows = re.findall(
        r'<tr><td>([^<]+)</td><td class="number">[^<]+</td><td class="number">([^<]+)</td>', table
    )
    return {unescape(name): Decimal(value.replace(",", "")) for name, value in rows}
