"""The marts, which dbt builds: each equals the same query over the source, whatever has happened in between."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from airflow.sdk import Connection

from include.conventions.errors import TaskError
from include.marts import dbt, results
from include.marts.errors import ModelError
from include.marts.results import Build
from include.mirror.plan import Keys, Work
from include.vendas import sales
from include.vendas.sales import Range
from local.servers.server import free_port
from local.waiting import until
from tests.lab import Lab

PLACE = "LEFT JOIN cliente c USING (cliente_id) LEFT JOIN cidade USING (cidade_id) LEFT JOIN pais p USING (pais_id)"
DELIVERED = "count(*) FILTER (WHERE entregue = 'S')"
# For each mart, the same query over the source.
QUERIES = {
    "dim_cliente": """
        SELECT cliente_id, nome, data_cad, cidade_desc AS cidade, cidade_uf AS uf, pais
        FROM cliente LEFT JOIN cidade USING (cidade_id) LEFT JOIN pais USING (pais_id)""",
    "dim_produto": "SELECT produto_id, nome, preco_base, ativo FROM produto",
    "fato_venda": "SELECT venda_id, cliente_id, data AS dia, entregue, valor_total FROM venda",
    "fato_item_venda": """
        SELECT item_id, venda_id, produto_id, cliente_id, data AS dia, valor_unitario, quantidade, i.valor_total
        FROM item_venda i LEFT JOIN venda USING (venda_id)""",
    "vendas_por_dia": f"""
        SELECT data AS dia, count(*) AS vendas, count(DISTINCT cliente_id) AS clientes, {DELIVERED} AS entregues,
               sum(valor_total) AS valor_total
        FROM venda GROUP BY data""",
    "vendas_por_cidade": f"""
        SELECT data AS dia, pais, cidade_uf AS uf, cidade_desc AS cidade, count(*) AS vendas,
               {DELIVERED} AS entregues, sum(valor_total) AS valor_total
        FROM venda {PLACE} GROUP BY 1, 2, 3, 4""",
    "produtos_por_dia": """
        SELECT data AS dia, produto_id, max(nome) AS produto, sum(quantidade) AS quantidade,
               count(DISTINCT venda_id) AS vendas, sum(i.valor_total) AS valor_total
        FROM item_venda i LEFT JOIN venda USING (venda_id) LEFT JOIN produto USING (produto_id) GROUP BY 1, 2""",
    "produtos_mais_vendidos": """
        SELECT mes, row_number() OVER (PARTITION BY mes ORDER BY quantidade DESC NULLS LAST, produto_id) AS posicao,
               produto_id, nome AS produto, quantidade, vendas, valor_total
        FROM (SELECT date_trunc('month', data)::date AS mes, produto_id, sum(quantidade) AS quantidade,
                     count(DISTINCT venda_id) AS vendas, sum(i.valor_total) AS valor_total
              FROM item_venda i LEFT JOIN venda USING (venda_id) GROUP BY 1, 2) AS sold
        LEFT JOIN produto USING (produto_id)""",
    "taxa_de_entrega": f"""
        SELECT data AS dia, pais, cidade_uf AS uf, count(*) AS vendas, {DELIVERED} AS entregues,
               round({DELIVERED} / count(*)::numeric, 4) AS taxa
        FROM venda {PLACE} GROUP BY 1, 2, 3""",
}
SALES = """
INSERT INTO venda (venda_id, cliente_id, data, entregue, valor_total) SELECT n, 1 + n % 2, date '2026-01-01' + n % 40,
    CASE n % 3 WHEN 0 THEN 'S' WHEN 1 THEN 'N' END, n + 0.25 FROM generate_series(1, 60) AS n;
INSERT INTO venda (venda_id, valor_total) VALUES (61, NULL);
INSERT INTO item_venda (venda_id, produto_id, valor_unitario, quantidade, valor_total)
    SELECT n, 1 + n % 2, n, 2, 2 * n FROM generate_series(1, 60) AS n;
"""


class DiedError(Exception):
    """The mirror's process ends here."""


@pytest.fixture
def marts(lab: Lab) -> Lab:
    """A mirrored source with sales, and no mart yet."""
    lab.execute(SALES)
    lab.options = replace(lab.options, compare_keys=1000)
    lab.run()
    return lab


def build(lab: Lab, **options: Any) -> list[dbt.Result]:
    warehouse = Connection(
        conn_id="warehouse",
        conn_type="clickhouse",
        host="127.0.0.1",
        port=lab.clickhouse.port,
        login=lab.clickhouse.user,
        password=lab.clickhouse.password,
    )
    return dbt.build(dbt.environment(warehouse), **options)


def executions(lab: Lab) -> int:
    """Return how many runs of dbt have noted loads."""
    [(count,)] = lab.query("SELECT uniqExact(execucao) FROM vendas_marts.cargas_novas")
    return int(count)


def read(lab: Lab, mart: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the rows of a mart, and those of the same query over the source, each sorted."""
    with lab.connect() as connection:
        cursor = connection.execute(QUERIES[mart].encode())
        columns = ", ".join(one.name for one in cursor.description or ())
        expected = cursor.fetchall()
    return _sorted(lab.query(f"SELECT {columns} FROM vendas_marts.{mart}")), _sorted(expected)


def _sorted(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, rows), key=lambda row: [(value is not None, value) for value in row])


def assert_equal(lab: Lab) -> None:
    for mart in QUERIES:
        found, expected = read(lab, mart)
        assert found == expected, mart
        assert found


def read_results(lab: Lab) -> Build:
    with closing(lab.clickhouse.client()) as client:
        left = results.read(client)
    assert left is not None
    return left


def fail_a_model(lab: Lab) -> None:
    """Build the marts while the view of the products is away. What does not need it is built, and the results say so."""
    before = read_results(lab)
    lab.query("RENAME TABLE vendas_dw.produto TO vendas_dw.away")
    with pytest.raises(ModelError, match="model dim_produto: error"):
        build(lab)
    lab.query("RENAME TABLE vendas_dw.away TO vendas_dw.produto")
    left = read_results(lab)
    [failed] = left.failed
    assert (failed.name, failed.built, failed.passed) == ("dim_produto", before.at, 0)
    assert "vendas_dw.produto" in failed.message.replace("`", "")
    assert [one.name for one in left.skipped] == ["produtos_mais_vendidos", "produtos_por_dia"]
    assert left.is_bad
    assert {one.name for one in left.models if one.built == left.at} == QUERIES.keys() - {
        *("dim_produto", "produtos_por_dia", "produtos_mais_vendidos")
    } | {"fato_venda_versoes", "fato_item_venda_versoes"}


def test_each_mart_equals_the_same_query_over_the_source(marts: Lab) -> None:
    """Inserts, old updates, deletes, a load published after a newer one, a killed dbt, a rebuilt table, two runs at once."""
    built = build(marts)
    assert {one.name for one in built if one.kind == "model"} >= QUERIES.keys()
    assert {one.status for one in built} <= {"success", "pass"}
    assert_equal(marts)
    left = read_results(marts)
    assert not left.is_bad
    assert {one.name for one in left.models} == {one.name for one in built if one.kind == "model"}
    assert all(one.tests == one.passed and one.built == left.at and not one.problems for one in left.models)
    found = {one.name: (one.rows, one.tests) for one in left.models}
    # Each test of a column counts for its model, and the one of several models for each of them.
    assert (found["fato_venda"], found["vendas_por_dia"]) == ((None, 4), (41, 2))

    # The outer run has the older snapshot, and publishes when the marts have already read the inner, newer one.
    nested = False

    def overtake(step: str, work: Work) -> None:
        nonlocal nested
        if step == "staged" and work.tabela == "venda" and not nested:
            nested = True
            marts.execute("UPDATE venda SET valor_total = 1000 WHERE venda_id = 2")
            marts.run()
            fail_a_model(marts)

    marts.execute("UPDATE venda SET data = '2026-03-01', entregue = 'S' WHERE venda_id = 1")
    marts.move(marts.plan((marts.now(), marts.now())), marts.engine(observe=overtake))
    assert nested
    marts.execute(
        "DELETE FROM item_venda WHERE venda_id IN (3, 4); DELETE FROM venda WHERE venda_id = 3;"
        "UPDATE item_venda SET quantidade = 9, venda_id = 6 WHERE venda_id = 5;"
        "UPDATE cidade SET cidade_desc = 'Santos' WHERE cidade_id = 1;"
        "UPDATE cliente SET cidade_id = 2 WHERE cliente_id = 2;"
        "UPDATE venda SET cliente_id = NULL WHERE venda_id = 7;"
        "INSERT INTO venda (venda_id, cliente_id, data, valor_total) VALUES (62, 2, '2025-12-31', 5)"
    )
    marts.run()

    # A mirror that dies before its ledger row leaves tombstones of no load: the next comparison of keys finds nothing
    # more to delete.
    marts.execute("DELETE FROM item_venda WHERE venda_id IN (9, 10)")

    def die(step: str, work: Work) -> None:
        if step == "published" and isinstance(work, Keys):
            raise DiedError

    with pytest.raises(DiedError):
        marts.run(engine=marts.engine(observe=die))
    marts.run()

    def kill(process: subprocess.Popen[str]) -> None:
        until(lambda: executions(marts) == 3, 120, "dbt has noted no loads")
        process.kill()

    with pytest.raises(ModelError, match="SIGKILL"):
        build(marts, started=kill)
    written = "SELECT count() FROM vendas_marts.fato_venda_versoes"
    [(before,)] = marts.query(written)
    build(marts)
    assert_equal(marts)
    [(after,)] = marts.query(written)
    assert after <= before + 10, "sales were read that have not changed"

    # A table that is rebuilt has no tombstones of the rows that are gone.
    marts.execute("DELETE FROM item_venda WHERE venda_id = 8; DELETE FROM venda WHERE venda_id = 8")
    marts.run(conf={"reconstruir": ["venda", "item_venda"]})

    # A run of dbt stands still after it has noted its loads, while another one reads newer loads.
    def overlap(process: subprocess.Popen[str]) -> None:
        until(lambda: executions(marts) == 5, 120, "dbt has noted no loads")
        process.send_signal(signal.SIGSTOP)
        marts.execute("UPDATE venda SET valor_total = 7, cliente_id = 2 WHERE venda_id IN (11, 12)")
        marts.run()
        build(marts)
        process.send_signal(signal.SIGCONT)

    build(marts, started=overlap)
    assert_equal(marts)
    assert_the_page_reads_the_same_without_them(marts)


def assert_the_page_reads_the_same_without_them(lab: Lab) -> None:
    """Compare the sales of the page Warehouse from the marts with those from the mirror's views. The marts are dropped."""
    spans = [Range(date(2026, 1, 1), date(2026, 12, 31)), Range(date(2026, 1, 3), date(2026, 1, 9))]
    spans.append(Range(date(2020, 1, 1), date(2020, 1, 2)))
    with closing(lab.clickhouse.client()) as client:
        of_marts = [sales.read(client, "vendas_dw", span) for span in spans]
        assert all(one.built for one in of_marts)
        assert of_marts[0].count > of_marts[1].count > of_marts[2].count == 0
        lab.query("DROP DATABASE vendas_marts SYNC")
        of_views = [sales.read(client, "vendas_dw", span) for span in spans]
    assert of_views == [replace(one, built=None) for one in of_marts]


def test_a_wrong_address_is_an_error_of_one_line_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """dbt gets only the variables that it needs, and what it writes has no password."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "not for dbt")
    wrong = Connection(
        conn_id="warehouse",
        conn_type="clickhouse",
        host="127.0.0.1",
        port=free_port(),
        password="s3cr3t-word",
    )
    with pytest.raises(TaskError) as raised:
        dbt.build(dbt.environment(wrong))
    assert raised.value.heals
    assert "127.0.0.1" in str(raised.value)
    assert "s3cr3t-word" not in str(raised.value)
    assert "\n" not in str(raised.value)
