"""Problems of a declaration by itself: each is one sentence, and none is raised while a DAG file loads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from include.airflow_mirror import mirror_dags
from include.airflow_mirror.settings import load
from include.mirror.declaration import Mirror, Schema, Table, problems

RIGHT = Mirror("loja", "postgres_loja", "clickhouse_dw", "loja_raw", "loja_dw", [Table("pedido")])

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tables": "public"}, """tables is 'public'; it must be a list of tables, such as [Table("pais")], or Schema("""),
    ({"tables": ["pedido"]}, "tables is ['pedido']; it must be a list of tables"),
    ({"tables": None}, "tables is None; it must be a list of tables"),
    ({"tables": []}, "tables is empty; name some"),
    ({"tables": Schema("public", leave_out="log")}, "the schema's leave_out is 'log'; it must be a list of texts"),
    ({"tables": Schema("public", tables=["a"])}, "the schema's tables is ['a']; it must be a list of tables"),  # type: ignore[list-item]
    ({"tables": Schema(None)}, "the schema's name is None; it must be a text"),  # type: ignore[arg-type]
    ({"tables": [Table("a", leave_out="foto")]}, "table a: leave_out is 'foto'; it must be a list of texts"),
    ({"tables": [Table("a", key=["id", 2])]}, "table a: key is ['id', 2]; it must be a text, or a list of texts"),  # type: ignore[list-item]
    ({"tables": [Table("a", columns=["id"])]}, "table a: columns is ['id']; it must be ClickHouse types by columns"),  # type: ignore[arg-type]
    ({"tables": [Table("a", partition_width="9")]}, "table a: partition_width is '9'; it must be a whole number"),  # type: ignore[arg-type]
    ({"tables": [Table("a", partition_width=True)]}, "table a: partition_width is True; it must be a whole number"),
    ({"tables": [Table("a", only="no")]}, "table a: only is 'no'; it must be True or False"),  # type: ignore[arg-type]
    ({"tables": [Table(5)]}, "tables is [Table(name=5"),  # type: ignore[arg-type]
    ({"tables": [Table("a", to=5)]}, "table a: to is 5; it must be a text or None"),  # type: ignore[arg-type]
    ({"tables": [Table("a.b.c")]}, "'a.b.c' is not the name of a table"),
    ({"tables": [Table("a", way="never")]}, "table a: way is 'never'; it must be one of window, scan, copy"),
    ({"tables": [Table("a"), Table("public.a")]}, "table public.a is declared more than once"),
    ({"tables": [Table("a"), Table("b", to="a")]}, "two tables would both be called a in the warehouse"),
    ({"tables": [Table("a", to="cargas")]}, "table a: to is 'cargas', which the mirror itself uses"),
    ({"tables": [Table("a", order_by=5)]}, "table a: order_by is 5; it must be a text, or a list of texts"),  # type: ignore[arg-type]
    ({"tables": [Table("a", order_by=())]}, "table a: order_by is empty; name columns to sort by, or leave it out"),
    ({"tables": [Table("a", order_by=["b", "id", "b"])]}, "table a: order_by names b twice; name each column once"),
    ({"tables": [Table("a", key="id", order_by="b")]}, "could become one; write order_by=('b', 'id')"),
    ({"tables": [Table("a", order_by=["b", "id"], leave_out=["b"])]}, "table a: b is left out, and order_by names it"),
    ({"name": "minha loja"}, "name is 'minha loja'; it must be letters, digits and _"),
    ({"name": 5}, "name is 5; it must be a text"),
    ({"views": "loja raw"}, "views is 'loja raw'; it must be letters, digits and _"),
    ({"views": "loja_raw"}, "storage and views are both 'loja_raw'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_is_wrong_is_told_and_the_dag_is_there(changes: dict[str, Any], message: str) -> None:
    wrong = replace(RIGHT, **changes)
    assert message in "; ".join(problems(wrong))
    moving, reconciling = mirror_dags(wrong, load(wrong.name), doc_md=None, tags=[])
    assert moving.task_ids == ["plan_windows", "mirror", "check"]
    assert reconciling.task_ids == ["choose_tables", "compare", "report"]


def test_nothing_is_wrong_with_tables_in_a_list_a_tuple_or_a_schema() -> None:
    tables = Table(
        "pedido",
        columns={"uf": "String"},
        leave_out=("foto",),
        key="id",
        partition_width=7,
        order_by=["uf", "id"],
    )
    for given in ([tables], (tables,), Schema("filial", ("log",), (tables,))):
        assert problems(replace(RIGHT, tables=given)) == []
