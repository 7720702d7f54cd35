"""The notebook runs on a real warehouse, and its numbers are those of the source."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab, connect

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "vendas.ipynb"


def cells() -> Iterator[tuple[str, str]]:
    """Yield id and text of each cell with code."""
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            yield cell["id"], "".join(cell["source"])


def executed(names: dict[str, Any]) -> dict[str, Any]:
    """Run all cells one after the other, with `names` as their variables; return what each of them shows, by its id.

    That is the value of a last line that is an expression, as in Jupyter.
    """
    shown = {}
    for name, text in cells():
        tree = ast.parse(text, f"{NOTEBOOK.name}: {name}")
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{NOTEBOOK.name}: {name}", "exec"), names)  # noqa: S102 - the project's own file
        if isinstance(last, ast.Expr):
            shown[name] = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)  # noqa: S307
    return shown


def test_its_numbers_are_those_of_the_source(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, lab)
    with lab.connect() as application:
        for amount in ("10.50", "20.00", "30.25"):
            lab.sell(application, amount)
        application.execute("UPDATE venda SET entregue = 'S', data = '2026-02-06' WHERE valor_total > 25")
    lab.run()
    variables: dict[str, Any] = {}
    shown = executed(variables)
    variables["warehouse"].close()

    with lab.connect() as source:

        def asked(query: str) -> list[tuple[Any, ...]]:
            return source.execute(query.encode()).fetchall()

        days = asked("SELECT data, count(*), sum(valor_total) FROM venda GROUP BY 1 ORDER BY 1")
        months = asked(
            "SELECT to_char(data, 'YYYY-MM'), count(*), sum(valor_total), avg((entregue = 'S')::int)::float"
            " FROM venda GROUP BY 1 ORDER BY 1"
        )
        products = asked(
            "SELECT nome, sum(quantidade), sum(valor_total) FROM item_venda JOIN produto USING (produto_id) GROUP BY 1"
        )
        cities = asked(
            "SELECT cidade_desc, cidade_uf, count(DISTINCT cliente_id), count(DISTINCT venda.cliente_id),"
            " coalesce(sum(valor_total), 0) FROM cliente JOIN cidade USING (cidade_id)"
            " LEFT JOIN venda USING (cliente_id) GROUP BY 1, 2 ORDER BY 3 DESC, 1"
        )
    assert len(days) == len(months) == 2
    table = shown["by-day-table"]
    assert [(day.date(), *rest) for day, *rest in table[["dia", "vendas", "valor"]].values.tolist()] == days
    assert rows(shown["by-month-table"], "mes", "vendas", "valor", "entregues") == months
    assert rows(shown["products-table"], "produto", "pecas", "valor") == products
    assert rows(shown["cities-table"], "cidade", "uf", "clientes", "compraram", "total") == cities
    charts = [value for name, value in shown.items() if name.endswith("-chart")]
    assert len(charts) == 4
    assert all("<svg" in chart._repr_svg_() for chart in charts)


def rows(table: Any, *columns: str) -> list[tuple[Any, ...]]:
    """Return these columns of a table of pandas as rows."""
    return [tuple(row) for row in table[list(columns)].values.tolist()]


def test_it_is_stored_without_results() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []
    # A cell's own source is plain Python, which runs without Jupyter, too.
    assert all(ast.parse(text) for _, text in cells())
