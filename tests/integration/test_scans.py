"""Tables without a change column: rows that were written since the last snapshot are found by transaction ids."""

from __future__ import annotations

import pytest

from include.mirror.plan import Scan
from include.mirror.source import changes
from tests.lab import Lab


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """A lab that scans one table, which has been read."""
    lab.execute("CREATE TABLE nota (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), texto text)")
    lab.execute("INSERT INTO nota (texto) SELECT n::text FROM generate_series(1, 20) AS n")
    lab.mirror_only("nota")
    assert lab.run() == {"nota": 20}
    return lab


def scanned(lab: Lab) -> list[int]:
    return [
        rows
        for (rows,) in lab.query("SELECT rows FROM vendas_dw.cargas WHERE kind = 'scan' ORDER BY version")
    ]


def test_the_way_and_its_reason_stand_in_the_ledgers_view(lab: Lab) -> None:
    assert lab.query("SELECT DISTINCT kind, reason FROM vendas_dw.cargas") == [
        ("scan", "it has no timestamp that windows could select by")
    ]


def test_inserts_and_updates_arrive_and_nothing_else_is_read(lab: Lab) -> None:
    lab.execute("UPDATE nota SET texto = 'x' WHERE texto IN ('3', '4')")
    lab.execute("INSERT INTO nota (texto) VALUES ('new')")
    assert lab.run() == {"nota": 3}
    assert lab.run() == {"nota": 0}
    lab.assert_equal()


def test_rows_of_a_transaction_that_was_open_arrive_when_it_has_committed(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO nota (texto) VALUES ('late')")
        with writer.transaction():
            writer.execute("INSERT INTO nota (texto) VALUES ('in a savepoint')")
        lab.run()
        writer.commit()
    assert lab.run() == {"nota": 2}
    lab.assert_equal()


def test_an_open_transaction_does_not_have_everything_read_again_and_again(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO nota (texto) VALUES ('late')")
        lab.execute("INSERT INTO nota (texto) SELECT n::text FROM generate_series(1, 50) AS n")
        assert lab.run() == {"nota": 50}
        lab.execute("INSERT INTO nota (texto) VALUES ('in between')")
        assert lab.run() == {"nota": 1}
        assert lab.run() == {"nota": 0}
        with writer.transaction():
            writer.execute("UPDATE nota SET texto = 'later' WHERE texto = '7'")
        writer.commit()
    assert lab.run() == {"nota": 3}  # the sevens of both loads
    assert lab.run() == {"nota": 0}
    lab.assert_equal()


def test_a_row_that_was_seen_and_is_written_again_arrives(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO nota (texto) VALUES ('late')")
        lab.execute("INSERT INTO nota (texto) VALUES ('first')")
        lab.run()
        lab.execute("UPDATE nota SET texto = 'second' WHERE texto = 'first'")
        assert lab.run() == {"nota": 1}
        writer.commit()
    lab.run()
    lab.assert_equal()


def test_a_range_reads_what_was_written_since_the_scan_before_it(lab: Lab) -> None:
    middle = lab.now()
    lab.execute("INSERT INTO nota (texto) VALUES ('a'), ('b')")
    lab.run()
    lab.run()
    conf = {"inicio": middle.isoformat(), "fim": lab.now().isoformat(), "tabelas": ["nota"]}
    assert lab.run(conf=conf) == {"nota": 2}
    conf["inicio"] = "2020-01-01T00:00:00Z"
    assert lab.run(conf=conf) == {"nota": 22}
    assert lab.run() == {"nota": 0}
    lab.assert_equal()


def test_ids_of_another_cluster_are_not_compared(lab: Lab) -> None:
    """After a dump and restore, transaction ids begin low again: a scan would find nothing."""
    client = lab.clickhouse.client()
    client.command(
        "ALTER TABLE vendas_raw.cargas UPDATE source_system = 1, snapshot_xmin = snapshot_xmin + 50000000 WHERE 1",
        settings={"mutations_sync": 2},
    )
    client.close()
    assert lab.run(accept=True) == {"nota": 20}


def test_the_same_of_ids_that_have_gone_round() -> None:
    import numpy as np

    xids = np.array([3, 2**32 - 1, 2**31, 100], dtype=np.int64)
    assert changes.at_least(xids, 2**32 - 5).tolist() == [True, True, False, True]
    assert changes.at_least(xids, 2**33 + 50).tolist() == [False, False, True, True]


def test_vacuum_freeze_and_full_lose_nothing(lab: Lab) -> None:
    lab.execute("INSERT INTO nota (texto) VALUES ('a')")
    lab.execute("VACUUM FREEZE nota")
    lab.execute("UPDATE nota SET texto = 'b' WHERE texto = '5'")
    lab.execute("VACUUM FULL nota")
    assert lab.run() == {"nota": 2}
    lab.assert_equal()


def test_without_the_lowest_running_id_a_late_commit_is_lost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan must begin at the lowest id that was still running, not at the first id that was not given yet."""
    import include.mirror.run as run

    scan = run.scan

    def from_the_next_id(state: object, tabela: str) -> Scan:
        found = scan(state, tabela)  # type: ignore[arg-type]
        with lab.connect() as connection:
            [(given,)] = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return Scan(tabela, found.inicio, given, found.system)

    with lab.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO nota (texto) VALUES ('late')")
        lab.run()
        writer.commit()
    monkeypatch.setattr(run, "scan", from_the_next_id)
    lab.run()
    with pytest.raises(AssertionError):
        lab.assert_equal()
