"""Verification works: damage between two steps raises an error, which names the difference, and is never published."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from include.mirror.errors import VerificationError
from include.mirror.plan import Work
from tests.lab import Lab

SALES = "INSERT INTO venda (cliente_id, entregue, valor_total) SELECT n % 2 + 1, 'N', n FROM generate_series(1, 500) AS n"
PRODUCTS = (
    "INSERT INTO produto (nome, descricao) SELECT 'nome ' || repeat('x', n % 7), 'descrição ' || n"
    " FROM generate_series(1, 500) AS n"
)


def damage(lab: Lab, statement: str, table: str, step: str) -> Callable[[str, Work], None]:
    """Return an observer that runs `statement` on the table's stage, or on the published table, at `step`."""

    def observe(reached: str, window: Work) -> None:
        if reached != step or window.tabela != table:
            return
        client = lab.clickhouse.client()
        (stage,) = client.query(
            "SELECT name FROM system.tables WHERE startsWith(name, {prefix:String})",
            parameters={"prefix": f"stage__{table}__"},
        ).result_rows
        client.command(statement.format(stage=f"vendas_raw.`{stage[0]}`"), settings={"mutations_sync": 2})
        client.close()

    return observe


STAGED = {
    "a cent changed": (
        "venda",
        "ALTER TABLE {stage} UPDATE valor_total = valor_total + 0.01 WHERE venda_id = 250",
        "venda.valor_total: the sum",
    ),
    "a row deleted": (
        "venda",
        "ALTER TABLE {stage} DELETE WHERE venda_id = 250",
        "venda: 500 rows were read, 499",
    ),
    "a row doubled": (
        "venda",
        "INSERT INTO {stage} SELECT * FROM {stage} WHERE venda_id = 250",
        "venda: 500 rows were read, 501",
    ),
    "two amounts swapped": (
        "venda",
        "ALTER TABLE {stage} UPDATE valor_total = if(venda_id = 3, 4, 3) WHERE venda_id IN (3, 4)",
        "venda.valor_total: the sum of the values' numbers weighted by the key",
    ),
    "two texts of unequal length swapped": (
        "produto",
        "ALTER TABLE {stage} UPDATE nome = if(produto_id = 3, 'nome xx', 'nome x') WHERE produto_id IN (3, 4)",
        "produto.nome: the sum of the values' numbers weighted by the key",
    ),
    "a text replaced by one of the same length everywhere": (
        "produto",
        "ALTER TABLE {stage} UPDATE nome = replaceAll(nome, 'x', 'y') WHERE 1",
        "produto.nome: the sum of the values' numbers is",
    ),
    "a value turned to NULL": (
        "venda",
        "ALTER TABLE {stage} UPDATE entregue = NULL WHERE venda_id = 9",
        "venda.entregue: the number of NULLs",
    ),
    "a time moved by a microsecond": (
        "venda",
        "ALTER TABLE {stage} UPDATE created_at = created_at + toIntervalMicrosecond(1) WHERE venda_id = 9",
        "venda.created_at: the sum",
    ),
}


@pytest.mark.parametrize("what", STAGED)
def test_damage_in_the_stage_raises_and_is_not_published(lab: Lab, what: str) -> None:
    table, statement, message = STAGED[what]
    lab.run()
    lab.execute(SALES)
    lab.execute(PRODUCTS)
    before = lab.query("SELECT count() FROM vendas_dw." + table)
    with pytest.raises(VerificationError) as raised:
        lab.run(engine=lab.engine(observe=damage(lab, statement, table, "staged")))
    assert message in str(raised.value)
    assert lab.query("SELECT count() FROM vendas_dw." + table) == before
    lab.run()
    lab.assert_equal()


def test_damage_in_what_was_published_raises_and_the_next_run_mends_it(lab: Lab) -> None:
    lab.run()
    lab.execute(SALES)
    wrong = damage(
        lab, "ALTER TABLE vendas_raw.venda UPDATE valor_total = 0 WHERE venda_id = 77", "venda", "published"
    )
    with pytest.raises(VerificationError, match="1 verified rows are not in the published table"):
        lab.run(engine=lab.engine(observe=wrong))
    lab.run()
    lab.assert_equal()


def test_rows_superseded_meanwhile_are_no_damage(lab: Lab) -> None:
    """A run with a newer snapshot publishes the same keys, and a merge drops our rows before they are read back."""
    lab.run()
    lab.execute(SALES)
    entered: list[str] = []

    def overtake(step: str, window: Work) -> None:
        if step != "verified" or window.tabela != "venda" or entered:
            return
        entered.append(step)
        lab.execute("UPDATE venda SET entregue = 'S'")
        end = lab.now()
        lab.run(end - timedelta(seconds=5), end)

    def merge(step: str, window: Work) -> None:
        overtake(step, window)
        if step == "published" and window.tabela == "venda" and entered:
            client = lab.clickhouse.client()
            client.command("OPTIMIZE TABLE vendas_raw.venda FINAL")
            client.close()

    lab.run(engine=lab.engine(observe=merge))
    assert entered
    lab.run()
    lab.assert_equal()
