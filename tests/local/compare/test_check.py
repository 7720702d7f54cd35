"""`python -m local check`, on real servers: what is wrong is named, and told from what is on its way."""

from __future__ import annotations

import re
import signal
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from include.mirror.errors import WarehouseError
from local.__main__ import main
from local.compare import check
from local.compare.check import CheckError
from local.deployment.settings import Settings
from local.deployment.supervisor import AlreadyRunningError
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.lab import Lab

VENDAS = "include.vendas.tables:VENDAS"


@pytest.fixture
def folder(
    lab: Lab,
    postgres: Postgres,
    clickhouse: ClickHouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder that looks like that of a deployment which runs on the session's servers."""

    def running(_folder: Path) -> None:
        raise AlreadyRunningError("it runs")

    monkeypatch.setattr(check, "Deployment", running)
    Settings(
        folder=tmp_path,
        postgres_port=postgres.port,
        postgres_password=postgres.password,
        clickhouse_port=clickhouse.port,
        clickhouse_user=clickhouse.user,
        clickhouse_password=clickhouse.password,
        source_database=str(conninfo_to_dict(lab.dsn)["dbname"]),
    ).save()
    return tmp_path


def checked(folder: Path, lab: Lab, wait: float = 0, width: int = 120) -> tuple[int, str]:
    """Return the exit code, and what is printed; the schedule goes on whenever the mirror is waited for."""
    console = Console(width=width, record=True, file=StringIO())

    def pause() -> None:
        lab.run()

    code = check.run(folder, console, VENDAS, wait=wait, pause=pause)
    return code, console.export_text()


def row(printed: str, table: str) -> list[str]:
    (found,) = [line.split() for line in printed.splitlines() if line.split()[:1] == [table]]
    return found


def lines(printed: str, table: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith(f"{table}: ")]


def damage(lab: Lab, statement: str) -> None:
    client = lab.clickhouse.client()
    client.command(statement)
    client.close()


def test_equal_sides_are_equal(folder: Path, lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total) SELECT n FROM generate_series(1, 1200) AS n")
    lab.run()
    code, printed = checked(folder, lab)
    assert code == 0
    assert row(printed, "venda") == ["venda", "1,200", "1,200", "equal"]
    assert "Not one row differs." in printed


def test_what_is_wrong_is_named_and_not_hidden_by_lag(
    folder: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred deletions that no run finds, beside 525 rows of lag; a changed row; and one that is gone."""
    monkeypatch.setenv("ETL_VENDAS_COMPARE_KEYS", "0")
    lab.execute("INSERT INTO venda (valor_total) SELECT n FROM generate_series(1, 1000) AS n")
    lab.run()
    lab.execute("DELETE FROM venda WHERE venda_id <= 100")
    columns = "venda_id, cliente_id, data, entregue, valor_total, created_at, updated_at, version, is_deleted"
    damage(
        lab,
        f"INSERT INTO vendas_raw.venda ({columns}) SELECT {columns.replace('valor_total', 'valor_total + 1')}"
        " FROM vendas_raw.venda WHERE venda_id = 500",
    )
    damage(
        lab,
        f"INSERT INTO vendas_raw.venda ({columns}) SELECT {columns.replace('is_deleted', '1')}"
        " FROM vendas_raw.venda WHERE venda_id = 600",
    )
    lab.run()
    lab.execute("INSERT INTO venda (valor_total) SELECT n FROM generate_series(1, 500) AS n")
    lab.execute("UPDATE venda SET entregue = 'S' WHERE venda_id BETWEEN 701 AND 725")
    code, printed = checked(folder, lab)
    assert code == 1
    assert row(printed, "venda") == ["venda", "1,400", "999", "1", "100", "1", "525", "differs"]
    named = lines(printed, "venda")
    assert "venda: venda_id = '600': not in the warehouse" in named
    assert (
        "venda: venda_id = '500': valor_total is '500.00' in the source and '501.00' in the warehouse"
        in named
    )
    assert len([line for line in named if line.endswith(": not in the source")]) == 3
    assert "venda: and 97 more" in named
    assert (
        "Differs: 1 of 6 tables, wrong rows: 102. Rows on their way: 525, written after all that" in printed
    )
    # Nothing was changed, and the view that people ask says the same.
    assert lab.query("SELECT word, coming, deleted FROM vendas_dw.reconciliacoes WHERE tabela = 'venda'") == [
        ("differs", 525, 100)
    ]
    assert row(checked(folder, lab)[1], "venda") == row(printed, "venda")


def test_where_all_is_on_its_way_that_is_said(folder: Path, lab: Lab) -> None:
    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    code, printed = checked(folder, lab)
    assert code == 0
    assert row(printed, "venda") == ["venda", "1", "0", "1", "follows"]
    assert row(printed, "pais")[-1] == "equal"
    assert "Not one row that has been moved differs. Rows on their way: 2, written after all that" in printed
    assert any("no run has " in line for line in lines(printed, "venda"))


def test_the_mirror_is_waited_for(folder: Path, lab: Lab) -> None:
    """Whether deleted rows are on their way or were missed, the next run tells, which compares all keys."""
    lab.options = check.Options(lab.options.grace, timeout=lab.options.timeout, sweep=None)
    with lab.connect() as connection:
        sold = [lab.sell(connection) for _ in range(3)]
    lab.run()
    lab.execute(f"DELETE FROM item_venda WHERE venda_id = {sold[0]}")
    code, printed = checked(folder, lab)
    assert code == 1
    assert row(printed, "item_venda") == ["item_venda", "2", "3", "1", "unknown"]
    assert "item_venda: item_id = '1': not in the source" in printed
    assert "Not known: 1 of 6 tables; rows that only the next run can decide: 1." in printed
    code, printed = checked(folder, lab, wait=60)
    assert code == 0
    assert row(printed, "item_venda") == ["item_venda", "2", "3", "equal"]


def test_a_table_that_is_set_aside_does_not_follow(folder: Path, lab: Lab) -> None:
    lab.run()
    lab.execute("ALTER TABLE venda ADD COLUMN quando timestamptz")
    lab.run()
    lab.execute("INSERT INTO venda (quando) VALUES ('infinity')")
    with pytest.raises(Exception, match="infinity"):
        lab.run()
    code, printed = checked(folder, lab)
    assert code == 1
    assert row(printed, "venda")[-1] == "differs"
    assert "it was set aside: " in printed.replace("\n", " ")


def test_a_view_that_is_gone_or_another_one_is_named(folder: Path, lab: Lab) -> None:
    lab.run()
    damage(lab, "DROP VIEW vendas_dw.pais")
    damage(lab, "DROP VIEW vendas_dw.cidade")
    damage(lab, "CREATE TABLE vendas_dw.cidade (a Int8) ENGINE = Memory")
    code, printed = checked(folder, lab, width=200)
    assert code == 1
    assert lines(printed, "pais") == [
        "pais: the view vendas_dw.pais is missing, or has other columns: the next run makes it"
    ]
    assert "cidade: vendas_dw.cidade is already there and is not the mirror's view" in printed


def test_a_warehouse_without_a_ledger_can_not_be_compared(folder: Path, lab: Lab) -> None:
    with pytest.raises(WarehouseError, match="etl_vendas has to run once"):
        checked(folder, lab)


@pytest.mark.parametrize(
    ("mirror", "message"),
    [
        (
            "include.vendas.tables:NADA",
            "can't be loaded: module 'include.vendas.tables' has no attribute 'NADA'",
        ),
        ("include.nada:X", "can't be loaded: No module named 'include.nada'; give module:NAME"),
        ("include", "can't be loaded"),
        ("include.vendas.tables:CHANGED", "is of type str, not a Mirror"),
    ],
)
def test_what_is_no_declaration_is_refused(mirror: str, message: str) -> None:
    with pytest.raises(CheckError, match=re.escape(message)):
        check.load(mirror)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "from include.mirror.declaration import Table\nX = Table('pais', colunas={})\n",
            "TypeError: .*colunas",
        ),
        ("X = (\n", "SyntaxError: "),
    ],
)
def test_a_declaration_that_does_not_load_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    name = f"declaracao_{len(text)}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckError, match=f"^{name} does not load: {error}.*; correct it$") as raised:
        check.load(f"{name}:X")
    assert "\n" not in str(raised.value)


def test_check_ends_with_2_when_nothing_can_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The session's own handlers stay.
    monkeypatch.setattr(signal, "signal", lambda _number, _handler: None)
    result = CliRunner().invoke(main, ["check", "--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert "there is no deployment in" in result.output
