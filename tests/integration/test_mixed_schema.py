"""The guarantees on a schema with every type, key and way and with awkward names: `mixed.SHAPES`, all tables in each run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

import include.mirror.run as mirror_run
from include.mirror.declaration import WAYS, Schema
from include.mirror.ledger import Answers, Attempt
from include.mirror.names import ch
from include.mirror.plan import LedgerState, Scan
from include.mirror.reconcile import Limits, ReconcileOptions, reconcile
from include.mirror.reports import Report
from include.mirror.types.registry import ENTRIES, EXTENSIONS, TEXTS
from include.mirror.warehouse.ddl import bookkeeping
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.conftest import empty_warehouse, new_source
from tests.integration import mixed
from tests.integration.mover import Movers
from tests.integration.test_crashes import STEPS
from tests.lab import Lab, wait_for_lock

ROWS = 12

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def mixed_lab(postgres: Postgres, clickhouse: ClickHouse) -> Lab:
    """A lab with the mixed schema, which has been read once. Each test ends with both sides equal."""
    empty_warehouse(clickhouse)
    lab = Lab(new_source(postgres), clickhouse)
    lab.mirror_only(*(shape.declared for shape in mixed.SHAPES))
    with lab.connect() as connection:
        connection.execute(mixed.TYPES_OF_THEIR_OWN.encode())
        for shape in mixed.SHAPES:
            execute(connection, *shape.create(), shape.insert(1, ROWS))
        # After ANALYZE, the tables are known to be small, so they share one snapshot.
        connection.execute("ANALYZE")
    assert set(run(lab).values()) == {ROWS}
    lab.assert_equal()
    return lab


def execute(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(statement.encode())


def write(connection: Connection, new: int, changed: Iterable[int] = (), turn: int = 1) -> None:
    """Insert row number `new` into each table, and change the values of the `changed` rows."""
    for shape in mixed.SHAPES:
        execute(connection, shape.insert(new, new, turn), *shape.update(list(changed), turn))


def run(lab: Lab) -> dict[str, int]:
    """Do a run that ends after all written times, also after those that change columns of whole seconds round up."""
    time.sleep(1 - lab.now().microsecond / 1_000_000)
    return lab.run()


def lacking(lab: Lab) -> set[str]:
    """Return the tables that lack rows in the warehouse."""
    with lab.connect() as connection:
        return {
            name
            for name, shape in zip(lab.declaration.names, mixed.SHAPES, strict=True)
            if connection.execute(f"SELECT count(*) FROM {shape.sql}".encode()).fetchone()
            != tuple(lab.query(f"SELECT count() FROM {ch('vendas_dw', name)}")[0])
        }


def by_way(lab: Lab) -> dict[str, list[str]]:
    """Return the tables' names in the warehouse, by way."""
    specs = [lab.spec(name) for name in lab.tables]
    return {way: [spec.name for spec in specs if spec.way == way] for way in WAYS}


def test_the_schema_is_mixed(mixed_lab: Lab) -> None:
    """The schema has every type of the registry, and every way."""
    known = {
        "int2": "smallint",
        "int4": "integer",
        "int8": "bigint",
        "bool": "boolean",
        "bpchar": "character(5)",
    }
    known |= {"float4": "real", "float8": "double precision", "varchar": "varchar(10)", "char": '"char"'}
    known |= {"bit": "bit(3)", "varbit": "bit varying(5)"} | {name: f"ext.{name}" for name in EXTENSIONS}
    carried = {known.get(name, name) for name in (*ENTRIES, *TEXTS, *EXTENSIONS)}
    assert carried <= {kind for shape in mixed.SHAPES for kind in shape.columns.values()}
    assert all(by_way(mixed_lab).values())


Scenario = Callable[[Lab, int], Iterator[None]]
"""Writes and commits. The mirror runs at each `yield`. The number is that of the row that it may write."""


def written_early(lab: Lab, own: int) -> Iterator[None]:
    with lab.connect(autocommit=False) as writer:
        write(writer, 20 + own, [own])
        yield
        yield
        writer.commit()


def written_after_only_reading(lab: Lab, own: int) -> Iterator[None]:
    with lab.connect(autocommit=False) as writer:
        writer.execute("SELECT 1")
        yield
        write(writer, 20 + own, [own])
        yield
        writer.commit()


def prepared_and_committed_later(lab: Lab, own: int) -> Iterator[None]:
    with lab.connect(autocommit=False) as writer:
        write(writer, 20 + own, [own])
        writer.execute("PREPARE TRANSACTION 'mais tarde'")
    yield
    yield
    lab.execute("COMMIT PREPARED 'mais tarde'")


def noted_as_a_session_then_prepared(lab: Lab, own: int) -> Iterator[None]:
    with lab.connect(autocommit=False) as writer:
        write(writer, 20 + own, [own])
        yield
        writer.execute("PREPARE TRANSACTION 'virou'")
    yield
    yield
    lab.execute("COMMIT PREPARED 'virou'")


def with_savepoints_and_rollbacks(lab: Lab, own: int) -> Iterator[None]:
    with lab.connect(autocommit=False) as writer:
        with writer.transaction(force_rollback=True):
            write(writer, 20 + own, [own], turn=5)
        yield
        with writer.transaction():
            write(writer, 20 + own, [own])
        yield
        writer.commit()


def two_transactions_of_one_message(lab: Lab, own: int) -> Iterator[None]:
    """The second carries the start of the message, and is open while the window of its first is read."""
    statements = [shape.insert(20 + own, 20 + own) for shape in mixed.SHAPES]
    message = (
        "BEGIN; SELECT pg_advisory_xact_lock(1); COMMIT; BEGIN;"
        f"{';'.join(statements)}; SELECT pg_advisory_xact_lock(2); COMMIT"
    )
    failed: list[BaseException] = []

    def send() -> None:
        try:
            with psycopg.connect(lab.dsn, autocommit=True) as writer:
                assert writer.pgconn.exec_(message.encode()).status == psycopg.pq.ExecStatus.COMMAND_OK
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    with lab.connect() as holder:
        for lock in (1, 2):
            holder.execute("SELECT pg_advisory_lock(%s)", (lock,))
        thread = threading.Thread(target=send)
        thread.start()
        wait_for_lock(holder, 1)
        yield
        holder.execute("SELECT pg_advisory_unlock(1)")
        wait_for_lock(holder, 2)
        yield
        holder.execute("SELECT pg_advisory_unlock(2)")
        thread.join()
    assert failed == []


def the_last_writer_began_first(lab: Lab, own: int) -> Iterator[None]:
    """The rows' newer states have earlier times in the change columns."""
    with lab.connect(autocommit=False) as early:
        early.execute("SELECT 1")
        with lab.connect() as connection:
            write(connection, 20 + own, [own], turn=1)
        yield
        for shape in mixed.SHAPES:
            execute(early, *shape.update([own, 20 + own], turn=2))
        yield
        early.commit()


SCENARIOS: list[Scenario] = [
    written_early,
    written_after_only_reading,
    prepared_and_committed_later,
    noted_as_a_session_then_prepared,
    with_savepoints_and_rollbacks,
    two_transactions_of_one_message,
    the_last_writer_began_first,
]


@pytest.mark.campaign
def test_rows_that_commit_late_arrive(mixed_lab: Lab) -> None:
    lab = mixed_lab
    going = [scenario(lab, number) for number, scenario in enumerate(SCENARIOS, 1)]
    runs = 0
    while going:
        going = [one for one in going if next(one, going) is None]
        run(lab)
        runs += 1
    assert runs == 4
    lab.assert_equal()


@pytest.mark.campaign
def test_without_what_is_owed_rows_are_lost_and_a_range_brings_them(
    mixed_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, inicio = mixed_lab, mixed_lab.now()
    with monkeypatch.context() as broken:
        forget_what_is_owed(lab, broken)
        late = written_early(lab, 10)
        next(late)
        run(lab)
        next(late)
        assert next(late, "committed") == "committed"
        run(lab)
    tables = by_way(lab)
    # A time that is rounded up into the next run's window may be found by chance.
    coarse = {name for name in tables["window"] if lab.spec(name).precision > timedelta(milliseconds=1)}
    assert lacking(lab) | coarse == {*tables["window"], *tables["scan"]}
    fim = lab.now()
    conf = {"inicio": inicio.isoformat(), "fim": fim.isoformat()}
    moved = lab.run(conf=conf)
    # For change columns of whole seconds, also other rows of the same second.
    assert min(moved[name] for name in (*tables["window"], *tables["scan"])) == 2
    lab.assert_equal()


def forget_what_is_owed(lab: Lab, broken: pytest.MonkeyPatch) -> None:
    """Switch off the safety: no re-reads, and scans begin at the first transaction id that was not given yet."""
    state, scan = Answers.__dict__["state"].fget, mirror_run.scan

    def without_pending(known: Answers) -> LedgerState:
        return replace(state(known), pending=())

    def from_the_next_id(found: LedgerState, tabela: str) -> Scan:
        one = scan(found, tabela)
        with lab.connect() as connection:
            row = connection.execute(
                "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            ).fetchone()
        assert row is not None
        return Scan(tabela, one.inicio, row[0], one.system)

    broken.setattr(Answers, "state", property(without_pending))
    broken.setattr(mirror_run, "scan", from_the_next_id)


def test_any_interval_again_and_in_any_order_gives_the_same_warehouse(mixed_lab: Lab) -> None:
    lab, start = mixed_lab, mixed_lab.now()
    intervals = []
    for number in range(3):
        with lab.connect() as connection, connection.transaction():
            write(connection, 31 + number, [1, 11], turn=number)
        time.sleep(1 - lab.now().microsecond / 1_000_000)
        end = lab.now()
        intervals.append((start, end))
        start = end
    lab.run(*intervals[-1])
    lab.assert_equal()
    for interval in intervals[1::-1]:
        lab.run(*interval)
    conf = {"inicio": intervals[0][0].isoformat(), "fim": intervals[1][1].isoformat()}
    for _ in range(2):
        moved = lab.run(conf=conf)
        # The last interval has changed rows 1 and 11 again. What remains are the two inserted rows.
        assert min(moved[name] for name in by_way(lab)["window"]) == 2
    lab.assert_equal()


KILLED = {
    "noted": "window",
    "snapshot": "scan",
    "extracted": "copy",
    "staged": "scan",
    "verified": "copy",
    "published": "window",
    "confirmed": "scan",
    "recorded": "copy",
}
"""The step at which the process is killed, and the way of the table that gets there."""


@pytest.mark.campaign
def test_killed_at_every_step_the_next_run_converges(mixed_lab: Lab) -> None:
    """Each time, other rows are written, so that work which a kill left undone is not done by chance."""
    lab, tables = mixed_lab, by_way(mixed_lab)
    assert list(KILLED) == STEPS
    with Movers() as movers:
        for number, (step, way) in enumerate(KILLED.items(), 1):
            with lab.connect() as connection:
                write(connection, 40 + number, [number], turn=3)
            assert movers.run(lab, step, tables[way][1]) == -signal.SIGKILL, step
        # The last moment of a copy at which only some partitions are published.
        with lab.connect() as connection:
            write(connection, 49, [9], turn=3)
        assert movers.run(lab, "published", tables["copy"][-1]) == -signal.SIGKILL
    run(lab)
    lab.assert_equal()


@pytest.mark.campaign
def test_reconciliation_finds_and_repairs_a_row_of_each_table(mixed_lab: Lab) -> None:
    lab = mixed_lab
    names = lab.declaration.names
    client = lab.clickhouse.client()
    for new in (50, 51):
        with lab.connect() as connection:
            write(connection, new)
        run(lab)
        # A time in whole seconds may be rounded up into the next window.
        run(lab)
    newest: dict[str, int] = {
        name: version
        for name, version in lab.query(
            "SELECT tabela, max(version) FROM vendas_raw.cargas WHERE rows = 1 GROUP BY tabela"
        )
    }
    for name, shape in zip(names, mixed.SHAPES, strict=True):
        table = ch("vendas_raw", name)
        own = bookkeeping(lab.spec(name))
        # A tombstone by hand hides a row. The ledger can't know of it.
        client.command(
            f"INSERT INTO {table} SELECT * REPLACE (1 AS {ch(own.deleted)}) FROM {table} FINAL"
            f" WHERE {ch(own.version)} = {newest[name]} LIMIT 1"
        )
        if lab.spec(name).way != "copy":
            with lab.connect() as connection:
                execute(connection, shape.delete(50))
    client.close()
    copied = {name for name in names if lab.spec(name).way == "copy"}
    run(lab)
    found = reconciled(lab, names)
    # The copy has compared all rows and repaired its table.
    assert {
        name: str(one) for name, one in found.items() if one.word != "repaired" and name not in copied
    } == {}
    assert {
        (one.missing + one.deleted, one.repaired) for one in found.values() if one.word == "repaired"
    } <= {
        (1, 1),
        (2, 2),
    }
    lab.assert_equal()


def reconciled(lab: Lab, names: Iterable[str]) -> dict[str, Report]:
    """Reconcile tables at the same time, while the schedule goes on."""
    limits = Limits(share=1, patience=timedelta(seconds=60))
    ran = threading.Condition()

    def wait() -> None:
        with ran:
            ran.wait(10)

    def one(name: str) -> Report:
        return reconcile(
            lab.engine(), name, ReconcileOptions(confirmed=True), Attempt(uuid4(), "r", 1), limits, wait=wait
        )

    with ThreadPoolExecutor(8) as pool:
        pending = {name: pool.submit(one, name) for name in names}
        while not all(result.done() for result in pending.values()):
            run(lab)
            with ran:
                ran.notify_all()
        return {name: result.result() for name, result in pending.items()}


def test_clickhouse_can_read_the_definitions_again(mixed_lab: Lab) -> None:
    """ClickHouse reads them when it starts. It stores them as text, and quotes only the names that seem to need it."""
    for database in ("vendas_raw", "vendas_dw"):
        for name in mixed_lab.declaration.names:
            for statement in ("DETACH TABLE", "ATTACH TABLE"):
                mixed_lab.query(f"{statement} {ch(database, name)}")
    mixed_lab.assert_equal()


def test_a_published_schema_is_mirrored_as_it_is(lab: Lab) -> None:
    """All of its sixteen tables are mirrored by the schema's name alone, and nothing is created or altered in it."""
    # This is the last test of the file, because `lab` has emptied the warehouse that `mixed_lab` had filled.
    lab.mirror_only(Schema("locadora"))
    with lab.connect() as connection:
        execute(connection, mixed.RENTAL_SHOP, mixed.RENTAL_SHOP_ROWS)
    before = objects(lab)
    moved = lab.run()
    assert len(moved) == 16
    assert min(moved.values()) > 0
    lab.assert_equal()
    with lab.connect() as connection:
        execute(
            connection,
            "SET search_path = locadora",
            "UPDATE filme SET minutos = 61, extras = '{}', classificacao = '18' WHERE titulo = 'Um'",
            "UPDATE pagamento SET valor = 0 WHERE valor = 3.99",
            "INSERT INTO filme_vetor (filme_id, vetor) VALUES (3, '[]')",
        )
    assert sum(lab.run().values()) == 3
    lab.assert_equal()
    assert objects(lab) == before


def objects(lab: Lab) -> list[tuple[Any, ...]]:
    """Return all objects of the source, with the transactions that created or altered them."""
    with lab.connect() as connection:
        return connection.execute(
            "SELECT relname::text, xmin::text FROM pg_class UNION ALL SELECT proname, xmin::text FROM pg_proc"
            " UNION ALL SELECT tgname, xmin::text FROM pg_trigger ORDER BY 1, 2"
        ).fetchall()
