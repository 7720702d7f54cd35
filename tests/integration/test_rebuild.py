"""`{"reconstruir": […]}`: a new table is built beside the old one, and both are exchanged."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from include.conventions.errors import RequestError
from include.mirror import contract, run
from include.mirror.batch import Batch
from include.mirror.declaration import Schema, Table
from include.mirror.engine import Engine
from include.mirror.errors import RefusedError, SourceUnavailableError, VerificationError, WarehouseError
from include.mirror.plan import Work
from include.mirror.source import session
from include.mirror.warehouse.cluster import Cluster
from tests.integration.mover import Death, Movers, Running
from tests.lab import Lab, wait_for_lock

VENDA, RESUMO = Table("venda", change_column="updated_at"), Table("resumo", key="venda_id")
STEPS = ["staged", "recorded", "bridged", "exchanged", "shown"]


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """A lab with a table of each way. In the first two, rows were deleted since they were read."""
    lab.execute("CREATE TABLE nota (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), texto text)")
    lab.execute("INSERT INTO nota (texto) SELECT n::text FROM generate_series(1, 20) AS n")
    lab.execute(
        "INSERT INTO venda (venda_id, valor_total) SELECT n * 400000, n FROM generate_series(1, 30) AS n"
    )
    lab.execute("CREATE VIEW resumo AS SELECT venda_id, valor_total FROM venda WHERE venda_id <= 4000000")
    lab.mirror_only(VENDA, Table("nota"), RESUMO)
    lab.run()
    lab.execute("DELETE FROM venda WHERE venda_id > 11500000")
    lab.execute("DELETE FROM nota WHERE texto = '7'")
    return lab


def rebuild(lab: Lab, *tables: str, **more: Any) -> dict[str, int]:
    return lab.run(conf={"reconstruir": list(tables)}, **more)


def temporary(lab: Lab) -> list[str]:
    found = lab.query("SELECT name FROM system.tables WHERE database = 'vendas_raw' AND name LIKE 'stage%'")
    return [name for (name,) in found]


@contextmanager
def reader(lab: Lab, table: str, expected: tuple[Any, ...]) -> Iterator[list[int]]:
    """Poll the views while the block runs. Fail for any error, and for any result other than the expected one."""
    stop, wrong, polls = threading.Event(), [], [0]

    def poll() -> None:
        client = lab.clickhouse.client()
        while not stop.is_set():
            try:
                client.query(f"SELECT * FROM vendas_dw.{table}")
                (found,) = client.query(
                    f"SELECT count(), sum(valor_total) FROM vendas_dw.{table}"
                ).result_rows
            except Exception as error:  # noqa: BLE001 - whatever a reader sees is a failure
                wrong.append(repr(error))
                continue
            if found != expected:
                wrong.append(str(found))
            polls[0] += 1
        client.close()

    threads = [threading.Thread(target=poll) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield polls
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_table_of_each_way_is_built_anew_and_goes_on_from_there(lab: Lab) -> None:
    client = lab.clickhouse.client()
    client.command("ALTER TABLE vendas_raw.cargas DROP COLUMN built", settings={"mutations_sync": 2})
    client.command("DROP TABLE vendas_raw.migracoes SYNC")
    lab.run()
    with pytest.raises(AssertionError):
        lab.assert_equal()
    planned = lab.plan((lab.now() - timedelta(seconds=1), lab.now()))
    assert rebuild(lab, "nota", "venda", "resumo") == {"venda": 28, "nota": 19, "resumo": 10}
    lab.assert_equal()
    assert temporary(lab) == []
    # The scan would go on from a scan of the old table. The rebuild has already read its rows.
    assert lab.move(planned) == {"venda": 0, "resumo": 0}
    lab.assert_equal()
    assert lab.run() == {"venda": 0, "nota": 0, "resumo": 0}
    lab.execute("INSERT INTO venda (venda_id, valor_total) VALUES (1, 1)")
    lab.execute("UPDATE nota SET texto = 'x' WHERE texto = '8'")
    assert lab.run() == {"venda": 1, "nota": 1, "resumo": 1}
    assert rebuild(lab, "venda") == {"venda": 29}
    lab.run()
    lab.assert_equal()
    # No loss was detected by mistake, and everything that was read is covered.
    assert lab.query("SELECT DISTINCT tabela FROM vendas_dw.cargas WHERE kind = 'forget' AND built > 0") == []
    assert lab.query(
        "SELECT tabela, count(), uniqExact(built) FROM vendas_dw.cargas WHERE kind = 'rebuild' GROUP BY 1 ORDER BY 1"
    ) == [("nota", 1, 1), ("resumo", 1, 1), ("venda", 2, 2)]
    forgotten = "SELECT count() FROM vendas_dw.cargas WHERE kind = 'forget'"
    before = lab.query(forgotten)
    client.command("TRUNCATE TABLE vendas_raw.nota SYNC")
    client.close()
    lab.run()
    assert lab.query(forgotten) == [(before[0][0] + 1,)]
    lab.assert_equal()


@pytest.mark.parametrize("table", ["venda", "nota", "resumo"])
def test_what_was_planned_after_the_rebuilds_snapshot_is_not_taken_for_done(lab: Lab, table: str) -> None:
    rebuild(lab, "venda", "nota", "resumo")
    planned: list[Batch] = []

    def plan() -> None:
        lab.execute("UPDATE venda SET valor_total = 7777 WHERE venda_id = 4000000")
        lab.execute("UPDATE nota SET texto = 'late' WHERE texto = '8'")
        planned.extend(lab.plan((lab.now() - timedelta(seconds=1), lab.now()), {"tabelas": [table]}))

    rebuild(lab, table, engine=lab.engine(observe=at("staged", table, plan)))
    if table == "nota":
        # A scan of the new table has to go on from a later snapshot.
        with pytest.raises(
            RefusedError, match="nota was built anew in the warehouse since the run was planned"
        ):
            lab.move(planned)
    else:
        assert lab.move(planned)[table] > 0
    lab.run()
    lab.assert_equal()


@pytest.mark.parametrize("table", ["venda", "nota", "resumo"])
def test_a_table_that_is_rebuilt_while_a_task_waits_for_it_fails_no_run(lab: Lab, table: str) -> None:
    """The task has looked at the tables before the exchange, and gets the table's lock after it."""
    rebuild(lab, "venda", "nota", "resumo")
    lab.execute("UPDATE venda SET valor_total = 7777 WHERE venda_id = 4000000")
    lab.execute("UPDATE nota SET texto = 'late' WHERE texto = '8'")
    planned = lab.plan((lab.now() - timedelta(seconds=1), lab.now()))
    asked = 0

    class Waiting(Engine):
        def tables(self, *args: Any) -> Any:
            nonlocal asked
            found = super().tables(*args)
            asked += 1
            if asked == 1:
                rebuild(lab, table)
            return found

    moved = lab.move(planned, engine=Waiting(**vars(lab.engine())))
    assert asked > 2
    # The windows are moved into the new table, too; a scan or a copy is left to the rebuild.
    assert moved["venda"] == 1
    lab.assert_equal()
    assert lab.query("SELECT count() FROM vendas_dw.cargas WHERE kind = 'refuse'") == [(0,)]
    lab.run()
    lab.assert_equal()


BEGUN_AGAIN = [("snapshot", 2), ("published", 1), ("recorded", 1)]
"""The steps of a task that begins again: those before it notices the rebuild are reached twice."""


def test_killed_after_it_has_begun_again_a_retry_and_the_next_run_converge(lab: Lab) -> None:
    """A process waits for the table's lock while it is rebuilt, begins again, and is then killed."""
    lab.mirror_only(VENDA)
    rebuild(lab, "venda")
    with Movers() as movers, lab.connect() as watching:
        watching.autocommit = True
        for number, (step, nth) in enumerate(BEGUN_AGAIN):
            lab.execute(f"UPDATE venda SET valor_total = {number} WHERE venda_id = 4000000")
            planned = lab.plan((lab.now() - timedelta(seconds=1), lab.now()))
            waiting: list[Running] = []
            death = Death(step, "venda", nth=nth)
            start = partial(start_behind_a_lock, lab, movers, watching, death, planned, waiting)
            rebuild(lab, "venda", engine=lab.engine(observe=at("recorded", "venda", start)))
            (process,) = waiting
            assert process.wait() == -signal.SIGKILL, step
            moved = lab.move(planned, try_number=2)
            assert (moved.get("venda", 0) > 0) == (step != "recorded"), step
            lab.execute("UPDATE venda SET cliente_id = 1 WHERE venda_id = 400000")
            assert lab.run()["venda"] > 0, step
            lab.assert_equal()


def start_behind_a_lock(
    lab: Lab,
    movers: Movers,
    watching: psycopg.Connection,
    death: Death,
    planned: list[Batch],
    started: list[Running],
) -> None:
    """Start a process that moves planned batches, and return once it waits for the lock of `venda`."""
    started.append(movers.start(lab, death, planned=planned))
    wait_for_lock(watching, lab.spec("venda").oid)


def test_readers_see_no_gap_while_columns_change_under_them(lab: Lab) -> None:
    lab.mirror_only(VENDA)
    rebuild(lab, "venda")
    expected = tuple(lab.query("SELECT count(), sum(valor_total) FROM vendas_dw.venda")[0])
    assert expected[0] == 28
    with reader(lab, "venda", expected) as polls:
        rebuild(lab, "venda")
        lab.execute("ALTER TABLE venda DROP COLUMN entregue, ADD COLUMN canal text DEFAULT 'loja'")
        rebuild(lab, "venda")
        lab.execute("ALTER TABLE venda DROP COLUMN canal, ALTER COLUMN cliente_id TYPE bigint")
        rebuild(lab, "venda")
    assert polls[0] > 10
    lab.assert_equal()
    assert temporary(lab) == []


def test_killed_at_a_step_a_retry_and_the_next_run_converge(lab: Lab) -> None:
    """Each time, a column's type has changed, so that the table is refused until it has been rebuilt."""
    rows = "SELECT count() FROM vendas_dw.venda"
    lab.mirror_only(VENDA)
    rebuild(lab, "venda")
    with Movers() as movers:
        for number, step in enumerate(STEPS):
            kind = ("bigint", "integer")[number % 2]
            lab.execute(f"ALTER TABLE venda ALTER COLUMN cliente_id TYPE {kind}")
            planned = lab.plan(conf={"reconstruir": ["venda"]})
            assert movers.run(lab, step, "venda", planned) == -signal.SIGKILL, step
            # Even old stages are not dropped while a view reads from them.
            client = lab.clickhouse.client()
            warehouse = lab.engine().warehouse
            contract.drop_old_stages(
                warehouse, client, contract.read(warehouse, client), timedelta(seconds=-1)
            )
            client.close()
            assert lab.query(rows) == [(28,)], step
            exchanged = STEPS.index(step) >= STEPS.index("exchanged")
            with contextlib.nullcontext() if exchanged else pytest.raises(RefusedError, match="reconstruir"):
                lab.run()
            assert lab.query(rows) == [(28,)], step
            moved = lab.move(planned, try_number=2)
            assert moved.get("venda", 0) == (0 if exchanged else 28), step
            lab.execute("UPDATE venda SET cliente_id = 1 WHERE venda_id = 400000")
            assert lab.run()["venda"] == 1, step
            lab.assert_equal()
    client = lab.clickhouse.client()
    warehouse = lab.engine().warehouse
    contract.drop_old_stages(warehouse, client, contract.read(warehouse, client), timedelta(seconds=-1))
    client.close()
    assert temporary(lab) == []


def at(step: str, table: str, act: Callable[[], object]) -> Callable[[str, Work], None]:
    """Return an observer that acts once, when a table gets to a step."""
    done: list[str] = []

    def observe(reached: str, work: Work) -> None:
        if reached == step and work.tabela == table and not done:
            done.append(reached)
            act()

    return observe


def test_a_killed_rebuild_of_a_table_that_fits_is_no_loss_either(lab: Lab) -> None:
    """The view reads from the stage, which has other types than the old table, until the next run has moved what is owed."""
    lab.declaration = replace(
        lab.declaration,
        tables=[Table("venda", change_column="updated_at", columns={"entregue": "Nullable(String)"})],
    )
    rebuild(lab, "venda")
    lab.declaration = replace(
        lab.declaration,
        tables=[
            Table(
                "venda", change_column="updated_at", columns={"entregue": "LowCardinality(Nullable(String))"}
            )
        ],
    )

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        rebuild(lab, "venda", engine=lab.engine(observe=at("bridged", "venda", die)))
    lab.declaration = replace(lab.declaration, tables=[Table("venda", change_column="updated_at")])
    lab.execute("INSERT INTO venda (venda_id, valor_total) VALUES (1, 1)")
    planned = lab.plan((lab.now() - timedelta(seconds=1), lab.now()))
    assert lab.query("SELECT count() FROM vendas_dw.venda") == [(28,)]
    assert lab.move(planned) == {"venda": 1}
    assert lab.query("SELECT count() FROM vendas_dw.venda") == [(29,)]
    lab.assert_equal()


def test_passes_and_rebuilds_wait_for_each_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = [lab.plan(conf={"reconstruir": ["venda"]}) for _ in range(2)]
    moved: list[dict[str, int]] = []
    threads = [threading.Thread(target=lambda one=one: moved.append(lab.move(one))) for one in planned]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert moved == [{"venda": 28}, {"venda": 28}]
    assert temporary(lab) == []
    monkeypatch.setitem(session._SETTINGS, "lock_timeout", "200ms")
    waits = pytest.raises(
        SourceUnavailableError, match=r"public\.venda is being (built anew|moved) by another run"
    )

    def try_to(act: Callable[[], object]) -> Callable[[], None]:
        def attempt() -> None:
            with waits:
                act()

        return attempt

    lab.execute("INSERT INTO venda (venda_id, valor_total) VALUES (1, 1)")
    window = try_to(
        lambda: lab.run(
            conf={"inicio": "2026-01-01T00:00:00Z", "fim": lab.now().isoformat(), "tabelas": ["venda"]}
        )
    )
    rebuild(lab, "venda", engine=lab.engine(observe=at("recorded", "venda", window)))
    lab.run(engine=lab.engine(observe=at("noted", "venda", try_to(lambda: rebuild(lab, "venda")))))
    rebuild(
        lab, "venda", engine=lab.engine(observe=at("staged", "venda", try_to(lambda: rebuild(lab, "venda"))))
    )
    rebuild(lab, "nota", "resumo")
    lab.assert_equal()


@contextmanager
def lost_locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr("include.mirror.move._Lock._call", lambda *_: "SELECT 1")
        yield


INTERLEAVED = [
    ("run", "recorded", "venda"),
    ("run", "recorded", "nota"),
    ("run", "exchanged", "venda"),
    ("rebuild", "verified", "venda"),
    ("rebuild", "confirmed", "nota"),
]
"""Which of the two happens within the other, and at which step."""


def test_where_locks_are_lost_a_run_and_a_rebuild_in_each_other_lose_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = iter(range(1, 100))

    def write() -> None:
        lab.execute(f"INSERT INTO venda (venda_id, valor_total) VALUES ({next(keys)}, 1)")
        lab.execute(f"INSERT INTO nota (texto) VALUES ('{next(keys)}')")

    def run_all(engine: Engine | None = None) -> None:
        write()
        with contextlib.suppress(RefusedError, VerificationError):
            lab.run(engine=engine)

    rebuild(lab, "nota", "venda")
    with lost_locks(monkeypatch):
        for inner, step, table in INTERLEAVED:
            if inner == "run":
                rebuild(lab, table, engine=lab.engine(observe=at(step, table, run_all)))
            else:
                again = at(step, table, partial(rebuild, lab, table))
                run_all(lab.engine(observe=again))
                write()
            lab.run()
            lab.assert_equal()


def test_without_knowing_which_table_a_row_is_for_a_row_is_lost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window is published into the old table and recorded, a moment before the exchange."""
    monkeypatch.setattr(contract, "built", lambda _comment: 0)

    def write_and_run() -> None:
        lab.execute("INSERT INTO venda (venda_id, valor_total) VALUES (1, 1)")
        lab.run()

    monkeypatch.setattr("include.mirror.warehouse.parts.lost", lambda _noted, _now: None)
    with lost_locks(monkeypatch), contextlib.suppress(VerificationError):
        rebuild(lab, "venda", engine=lab.engine(observe=at("recorded", "venda", write_and_run)))
    lab.run()
    with pytest.raises(AssertionError):
        lab.assert_equal()


def test_rows_that_commit_late_arrive(lab: Lab) -> None:
    lab.options = replace(lab.options, sweep=timedelta(microseconds=1))
    lab.run()
    with lab.connect(autocommit=False) as writer, lab.connect(autocommit=False) as prepared:
        for key, session_ in enumerate((writer, prepared), 1):
            session_.execute("INSERT INTO venda (venda_id, valor_total) VALUES (%s, 1)", (key,))
            session_.execute(
                "INSERT INTO venda (venda_id, updated_at) VALUES (%s, '2020-01-01')", (key + 10,)
            )
            session_.execute("INSERT INTO nota (texto) VALUES ('late')")
        prepared.execute("PREPARE TRANSACTION 'meanwhile'")
        assert rebuild(lab, "venda", "nota") == {"venda": 28, "nota": 19}
        lab.run()
        writer.commit()
        assert lab.run()["nota"] == 1
    lab.execute("COMMIT PREPARED 'meanwhile'")
    lab.run()
    lab.run()
    lab.assert_equal()


SHAPES = {
    "sem_coluna": "ALTER TABLE sem_coluna DROP COLUMN b, ADD COLUMN c integer NOT NULL DEFAULT 3",
    "renomeada": "ALTER TABLE renomeada RENAME COLUMN a TO z",
    "trocada": "ALTER TABLE trocada RENAME COLUMN a TO z; ALTER TABLE trocada RENAME COLUMN b TO a;"
    " ALTER TABLE trocada RENAME COLUMN z TO b",
    "de_outro_tipo": "ALTER TABLE de_outro_tipo ALTER COLUMN a TYPE text USING 'n' || a",
    "de_outra_chave": "ALTER TABLE de_outra_chave DROP CONSTRAINT de_outra_chave_pkey, ADD PRIMARY KEY (id, b)",
}


def test_tables_that_do_not_fit_any_more_are_mended(lab: Lab) -> None:
    for table in SHAPES:
        lab.execute(
            f"CREATE TABLE {table} (id integer PRIMARY KEY, a integer, b text NOT NULL);"
            f" INSERT INTO {table} SELECT n, n, 'b' || n FROM generate_series(1, 5) AS n"
        )
    lab.mirror_only(
        Schema(
            "public",
            leave_out=["pais", "cidade", "cliente", "produto", "item_venda", "venda", "nota"],
            tables=[RESUMO],
        )
    )
    lab.run()
    for statement in SHAPES.values():
        lab.execute(statement)
    refused = [table for table in SHAPES if table != "trocada"]
    with pytest.raises(RefusedError) as raised:
        lab.run()
    for table in refused:
        assert f'trigger a run with conf {{"reconstruir": ["{table}"]}}' in str(raised.value)
    assert rebuild(lab, *SHAPES) == dict.fromkeys(SHAPES, 5)
    lab.assert_equal()
    lab.execute("INSERT INTO de_outra_chave VALUES (1, 7, 'another of this id')")
    assert lab.run()["de_outra_chave"] == 1
    lab.assert_equal()


def test_what_can_not_be_built_anew_is_refused_and_stays(lab: Lab) -> None:
    with pytest.raises(RequestError, match=r"unknown table 'vend' in reconstruir; .*did you mean 'venda'\?"):
        rebuild(lab, "vend")
    lab.mirror_only(
        Schema("public", leave_out=["pais", "cidade", "cliente", "produto", "item_venda"], tables=[RESUMO])
    )
    with pytest.raises(RequestError, match=r"unknown table 'vend' in reconstruir; .*did you mean 'venda'\?"):
        rebuild(lab, "vend")
    lab.execute("INSERT INTO venda (venda_id, updated_at) VALUES (1, '0044-03-15 BC')")
    before = lab.query("SELECT count() FROM vendas_dw.venda")
    lab.mirror_only(Table("venda", way="scan"), "nota")
    with pytest.raises(RefusedError, match="1 of the tables were set aside") as raised:
        rebuild(lab, "venda", "nota")
    assert "public.venda.updated_at" in str(raised.value)
    assert "venda_id = 1" in str(raised.value)
    assert lab.query("SELECT count() FROM vendas_dw.venda") == before
    assert temporary(lab) == []
    lab.query("DROP VIEW vendas_dw.nota SYNC")
    lab.query("CREATE TABLE vendas_dw.nota (a Int8) ENGINE = Memory")
    with pytest.raises(RefusedError, match=r"vendas_dw\.nota is already there and is not the mirror's view"):
        rebuild(lab, "nota")
    lab.query("RENAME TABLE vendas_dw.nota TO vendas_dw.minha, vendas_raw.nota TO vendas_raw.nossa")
    lab.query("CREATE TABLE vendas_raw.nota (a Int8) ENGINE = Memory")
    with pytest.raises(RefusedError, match="the mirror did not make it; make room"):
        rebuild(lab, "nota")
    lab.query("DROP TABLE vendas_raw.nota SYNC")
    assert rebuild(lab, "nota") == {"nota": 19}
    assert lab.query("SELECT count() FROM vendas_dw.nota") == [(19,)]


def test_servers_that_can_not_exchange_tables_are_refused() -> None:
    def engine_of(name: str) -> Any:
        return SimpleNamespace(query=lambda *_args, **_more: SimpleNamespace(result_rows=[(name,)]))

    warehouse = Lab("", SimpleNamespace(client=None)).engine().warehouse  # type: ignore[arg-type]
    run._check_exchange(warehouse, engine_of("Atomic"))
    with pytest.raises(WarehouseError, match="has engine Ordinary, which can't exchange two tables"):
        run._check_exchange(warehouse, engine_of("Ordinary"))
    with pytest.raises(WarehouseError, match=r"cluster c: .* Run DROP TABLE … ON CLUSTER … SYNC"):
        run._check_exchange(replace(warehouse, cluster=Cluster("c")), engine_of("Atomic"))
