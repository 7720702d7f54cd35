"""Rows whose change column no window finds, because a clock or a time zone is wrong: they are reported, and arrive."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.lab import Lab


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """A lab that sweeps in each run, and has done so once."""
    lab.options = replace(lab.options, sweep=timedelta())
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    return lab


def swept(lab: Lab) -> int:
    return lab.query("SELECT sum(rows) FROM vendas_dw.cargas WHERE kind = 'sweep'")[0][0]


def test_what_windows_find_is_not_read_twice(lab: Lab) -> None:
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    with lab.connect(autocommit=False) as late:
        late.execute("SELECT 1")
        with lab.connect() as connection:
            lab.sell(connection)
        lab.run()
        lab.sell(late)
        late.commit()
    lab.run()
    lab.run()
    assert swept(lab) == 0
    lab.assert_equal()


def test_a_session_that_writes_another_zones_times(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with lab.connect(options="-c TimeZone=America/Sao_Paulo") as local:
        local.execute("INSERT INTO pais (pais) VALUES ('Chile')")
        local.execute("UPDATE produto SET preco_base = 99 WHERE produto_id = 1")
    lab.run()
    lab.assert_equal()
    assert "1 rows of public.pais have a time in updated_at that no window finds" in caplog.text
    assert "pais_id = 3: " in caplog.text


def test_times_that_are_ahead(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.execute("ALTER TABLE venda DISABLE TRIGGER set_updated_at")
    lab.execute("UPDATE venda SET valor_total = 5, updated_at = LOCALTIMESTAMP + interval '10 years'")
    lab.run()
    lab.assert_equal()
    assert (
        "1 rows of public.venda have a time in updated_at that no window finds, ahead of the source's clock"
        in caplog.text
    )
    lab.execute("UPDATE venda SET valor_total = 6")
    lab.run()
    lab.assert_equal()


def test_a_source_timezone_that_is_wrong(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """The sessions write UTC, but the connection says São Paulo: all rows seem to come from the future."""
    lab.zone = ZoneInfo("America/Sao_Paulo")
    with lab.connect() as connection:
        for _ in range(3):
            lab.sell(connection)
    lab.run()
    lab.assert_equal()
    assert "source_timezone (now America/Sao_Paulo)" in caplog.text
    lab.zone = ZoneInfo("Pacific/Auckland")
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    lab.assert_equal()


def test_rows_with_such_times_that_commit_late(lab: Lab) -> None:
    with lab.connect(autocommit=False, options="-c TimeZone=America/Sao_Paulo") as late:
        late.execute("INSERT INTO pais (pais) VALUES ('Chile')")
        lab.run()
        lab.run()
        late.commit()
    lab.run()
    lab.assert_equal()


def test_an_import_that_brings_its_own_times(lab: Lab) -> None:
    lab.execute(
        "INSERT INTO venda (valor_total, updated_at) SELECT n, '2019-01-01' FROM generate_series(1, 20) AS n"
    )
    lab.run()
    assert swept(lab) == 20
    lab.assert_equal()


def test_a_sweep_is_due_when_its_time_has_come(lab: Lab) -> None:
    lab.options = replace(lab.options, sweep=timedelta(hours=1))
    with lab.connect(options="-c TimeZone=America/Sao_Paulo") as local:
        local.execute("INSERT INTO pais (pais) VALUES ('Chile')")
    lab.run()
    assert swept(lab) == 0
    lab.options = replace(lab.options, sweep=timedelta())
    lab.run()
    assert swept(lab) == 1
    lab.assert_equal()
