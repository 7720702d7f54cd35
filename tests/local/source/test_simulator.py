"""The sales simulator: each kind of transaction by itself, and many writers at once, on a real server."""
# ruff: noqa: F401, F811 (fixtures are imported by name)

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.servers.postgres import Postgres
from local.source import base, simulator
from local.source.base import SourceError
from local.source.simulator import APPLICATION_NAME, LONG, OTHERS, SALES, Stats, Traffic
from local.source.transactions import BUSY_CLIENTS, PREPARED_PREFIX, Application
from tests.local.postgres_fixtures import connection, database, server

pytestmark = pytest.mark.server

QUIET: dict[str, Any] = {name: 0.0 for name in (*SALES, *OTHERS)}
BUSY = Traffic(
    rate=60, hold=(0.2, 0.6), late=0.1, read_first=0.1, savepoints=0.1, prepared=0.1, rollbacks=0.2,
    deliveries=0.5, late_deliveries=0.1, client_changes=0.3, late_client_changes=0.1, new_clients=0.1,
    price_changes=0.2, cancellations=0.1, late_cancellations=0.05, key_changes=0.1,
)  # fmt: skip
WRONG_TOTALS = """
    SELECT count(*) FROM venda LEFT JOIN (
        SELECT venda_id, sum(valor_total) AS total, count(*) AS items,
               bool_and(valor_total = valor_unitario * quantidade) AS exact
        FROM item_venda GROUP BY venda_id
    ) AS item USING (venda_id)
    WHERE valor_total IS DISTINCT FROM total OR NOT exact OR items NOT BETWEEN 1 AND 8
"""


@pytest.fixture
def source(database: str) -> str:
    base.create(database, clients=50, products=30)
    return database


@pytest.fixture
def writer(source: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(source, autocommit=True) as connection:
        yield connection


def scalar(connection: psycopg.Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def no_pause() -> None:
    return None


def assert_consistent(connection: psycopg.Connection, stats: Stats) -> None:
    assert scalar(connection, WRONG_TOTALS) == 0
    assert scalar(connection, "SELECT count(*) FROM venda") == stats.sales - stats.cancellations
    if not stats.cancellations:
        assert scalar(connection, "SELECT count(*) FROM item_venda") == stats.items
        assert scalar(connection, "SELECT coalesce(sum(valor_total), 0) FROM venda") == stats.revenue


def assert_all_ended(connection: psycopg.Connection) -> None:
    database = "datname = current_database()"
    sessions = f"SELECT count(*) FROM pg_stat_activity WHERE {database} AND application_name = %s AND state <> 'idle'"
    assert scalar(connection, sessions, APPLICATION_NAME) == 0
    assert (
        scalar(connection, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()") == 0
    )


# One transaction at a time: the rows that others see during its pause, and the rows after it.


def test_a_sale_adds_up_and_is_undelivered(source: str, connection: psycopg.Connection) -> None:
    committed = Application(connection).sale(connection, base.generator(1), no_pause)
    assert committed["sales"] == 1
    assert connection.execute("SELECT entregue, data = CURRENT_DATE, valor_total FROM venda").fetchall() == [
        ("N", True, committed["revenue"])
    ]
    assert scalar(connection, WRONG_TOTALS) == 0


def test_a_late_sale_appears_behind_what_others_committed(
    writer: psycopg.Connection, connection: psycopg.Connection
) -> None:
    application = Application(connection)

    def pause() -> None:
        application.sale(connection, base.generator(2), no_pause)
        assert scalar(connection, "SELECT count(*) FROM venda") == 1

    application.late_sale(writer, base.generator(1), pause)
    # This id and timestamp came first, but the row became visible last.
    assert scalar(connection, "SELECT array_agg(venda_id ORDER BY updated_at) FROM venda") == [1, 2]


def test_a_sale_after_reading_has_no_transaction_id_while_it_waits(
    writer: psycopg.Connection, connection: psycopg.Connection
) -> None:
    application = Application(connection)
    seen: list[tuple] = []

    def pause() -> None:
        seen.extend(
            connection.execute(
                "SELECT state, backend_xid FROM pg_stat_activity WHERE pid = %s", [writer.info.backend_pid]
            )
        )
        application.sale(connection, base.generator(2), no_pause)

    application.sale_after_reading(writer, base.generator(1), pause)
    assert seen == [("idle in transaction", None)]
    # Here the later id has the earlier timestamp.
    assert scalar(connection, "SELECT array_agg(venda_id ORDER BY updated_at) FROM venda") == [2, 1]


@pytest.mark.parametrize("seed", range(5))
def test_savepoints_leave_what_was_kept(
    writer: psycopg.Connection, connection: psycopg.Connection, seed: int
) -> None:
    committed = Application(connection).sale_with_savepoints(writer, base.generator(seed), no_pause)
    stats = Stats().plus(committed)
    assert (stats.sales, stats.savepoint_rollbacks) == (1, 1)
    assert_consistent(connection, stats)


def test_a_prepared_sale_belongs_to_no_session_while_it_waits(
    writer: psycopg.Connection, connection: psycopg.Connection
) -> None:
    seen: list[tuple] = []

    def pause() -> None:
        seen.extend(
            connection.execute("SELECT starts_with(gid, %s) FROM pg_prepared_xacts", [PREPARED_PREFIX])
        )
        assert scalar(connection, "SELECT count(*) FROM venda") == 0

    stats = Stats().plus(Application(connection).prepared_sale(writer, base.generator(1), pause))
    assert seen == [(True,)]
    assert_consistent(connection, stats)
    assert_all_ended(connection)


def test_an_abandoned_sale_leaves_nothing(writer: psycopg.Connection, connection: psycopg.Connection) -> None:
    assert Application(connection).abandoned_sale(writer, base.generator(1), no_pause) == {"rollbacks": 1}
    assert scalar(connection, "SELECT (SELECT count(*) FROM venda) + (SELECT count(*) FROM item_venda)") == 0


def test_a_delivery_turns_entregue(writer: psycopg.Connection, connection: psycopg.Connection) -> None:
    application = Application(connection)
    assert application.delivery(writer, base.generator(1), no_pause) == {"deliveries": 0}
    application.sale(writer, base.generator(1), no_pause)
    assert application.delivery(writer, base.generator(1), no_pause) == {"deliveries": 1}
    assert scalar(connection, "SELECT entregue = 'S' AND updated_at > created_at FROM venda") is True


@pytest.mark.parametrize("kind", [Application.late_delivery, Application.late_client_change])
def test_a_late_change_puts_updated_at_back(
    writer: psycopg.Connection, connection: psycopg.Connection, kind: Callable
) -> None:
    application = Application(connection)
    application.sale(connection, base.generator(1), no_pause)
    before: dict[int, datetime] = {}
    rows = """
        SELECT cliente_id, updated_at FROM cliente WHERE cliente_id <= %s
        UNION ALL SELECT -venda_id, updated_at FROM venda
    """

    def pause() -> None:
        connection.execute("UPDATE cliente SET nome = 'Changed meanwhile'")
        connection.execute("UPDATE venda SET entregue = 'N'")
        before.update(connection.execute(rows, [BUSY_CLIENTS]).fetchall())

    kind(application, writer, base.generator(1), pause)
    after: dict[int, datetime] = dict(connection.execute(rows, [BUSY_CLIENTS]).fetchall())
    assert sorted([after[key] < before[key] for key in before], reverse=True)[:2] == [True, False]


def test_clients_and_prices_change(writer: psycopg.Connection, connection: psycopg.Connection) -> None:
    application = Application(connection)
    prices = "SELECT array_agg(preco_base ORDER BY produto_id) FROM produto"
    before = scalar(connection, prices)
    assert application.price_change(writer, base.generator(1), no_pause) == {"price_changes": 1}
    assert scalar(connection, prices) != before
    assert application.new_client(writer, base.generator(1), no_pause) == {"new_clients": 1}
    assert scalar(connection, "SELECT count(*) FROM cliente") == 51
    assert application.client_change(writer, base.generator(1), no_pause) == {"client_changes": 1}
    assert scalar(connection, "SELECT count(*) FROM cliente WHERE updated_at > created_at") == 1


def test_a_cancellation_deletes(writer: psycopg.Connection, connection: psycopg.Connection) -> None:
    application = Application(connection)
    assert application.cancellation(writer, base.generator(1), no_pause) == {}
    application.sale(writer, base.generator(1), no_pause)
    assert application.cancellation(writer, base.generator(1), no_pause) == {"cancellations": 1}
    assert scalar(connection, "SELECT (SELECT count(*) FROM venda) + (SELECT count(*) FROM item_venda)") == 0


def test_a_late_cancellation_is_seen_when_it_is_committed(
    writer: psycopg.Connection, connection: psycopg.Connection
) -> None:
    application, seen = Application(connection), list[object]()
    assert application.late_cancellation(writer, base.generator(1), no_pause) == {}
    application.sale(writer, base.generator(1), no_pause)

    def pause() -> None:
        seen.append(scalar(connection, "SELECT count(*) FROM venda"))

    committed = application.late_cancellation(writer, base.generator(1), pause)
    assert (seen, committed) == ([1], {"cancellations": 1, "late_commits": 1})
    assert scalar(connection, "SELECT (SELECT count(*) FROM venda) + (SELECT count(*) FROM item_venda)") == 0


def test_a_changed_key_leaves_the_old_one_behind(
    writer: psycopg.Connection, connection: psycopg.Connection
) -> None:
    application = Application(connection)
    assert application.key_change(writer, base.generator(1), no_pause) == {}
    application.sale(writer, base.generator(1), no_pause)
    keys = "SELECT array_agg(item_id ORDER BY item_id) FROM item_venda"
    before = scalar(connection, keys)
    assert application.key_change(writer, base.generator(1), no_pause) == {"key_changes": 1}
    assert isinstance(before, list)
    assert scalar(connection, keys) == [*before[:-1], before[-1] + 1]


def test_sales_of_an_earlier_run_are_delivered(source: str, connection: psycopg.Connection) -> None:
    Application(connection).sale(connection, base.generator(1), no_pause)
    assert Application(connection).delivery(connection, base.generator(1), no_pause) == {"deliveries": 1}


def test_what_a_killed_simulator_left_prepared_is_rolled_back_and_nothing_else(
    source: str, connection: psycopg.Connection
) -> None:
    for name in (f"{PREPARED_PREFIX}old", "someone-else"):
        connection.execute("BEGIN")
        connection.execute("INSERT INTO pais (pais) VALUES ('x')")
        connection.execute(f"PREPARE TRANSACTION '{name}'")
    application = Application(connection)
    left = "SELECT array_agg(gid ORDER BY gid) FROM pg_prepared_xacts"
    application.roll_back_orphans(connection, older_than=3600)
    assert scalar(connection, left) == [f"{PREPARED_PREFIX}old", "someone-else"]
    application.roll_back_orphans(connection, older_than=0)
    assert scalar(connection, left) == ["someone-else"]
    connection.execute("ROLLBACK PREPARED 'someone-else'")


# All kinds at once.


def test_the_figures_are_what_the_database_holds(source: str, connection: psycopg.Connection) -> None:
    stop = threading.Event()
    wanted = {part.name for part in fields(Stats)} - {"reconnects", "abandoned"}

    def until_all_kinds_were_seen(stats: Stats) -> None:
        if all(getattr(stats, name) for name in wanted):
            stop.set()

    stats = simulator.run(source, BUSY, stop=stop, progress=until_all_kinds_were_seen)
    assert stats.reconnects == 0
    assert_consistent(connection, stats)
    assert_all_ended(connection)
    assert scalar(connection, "SELECT count(*) FROM cliente") == 50 + stats.new_clients


def test_the_end_cuts_long_transactions_short_and_commits_them(
    source: str, connection: psycopg.Connection
) -> None:
    stop = threading.Event()
    for_an_hour = Traffic(**{**QUIET, "rate": 100.0, "hold": (3600.0, 3600.0), "late": 0.5, "prepared": 0.5})

    def until_the_writers_wait(_: Stats) -> None:
        waiting = scalar(
            connection,
            """
            SELECT count(*) FILTER (WHERE state = 'idle in transaction' AND backend_xid IS NOT NULL)
                + (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())
            FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s
            """,
            APPLICATION_NAME,
        )
        if waiting == 6:
            stop.set()

    stats = simulator.run(source, for_an_hour, writers=6, stop=stop, progress=until_the_writers_wait)
    assert stats.late_commits == stats.sales == 6
    assert stats.prepared_commits > 0
    assert_consistent(connection, stats)
    assert_all_ended(connection)


@pytest.mark.parametrize("crash", [False, True])
def test_goes_on_after_a_restart_of_the_database(server: Postgres, source: str, crash: bool) -> None:
    selling, stop = threading.Event(), threading.Event()
    wanted = 20

    def report(stats: Stats) -> None:
        if stats.sales >= wanted:
            selling.set()

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(simulator.run, source, BUSY, stop=stop, progress=report)
        try:
            assert selling.wait(60)
            if crash:
                server.kill()
                server.start()
            else:
                server.restart()
            wanted = 10**9
            selling.clear()
            with psycopg.connect(source) as connection:
                wanted = scalar(connection, "SELECT count(*) FROM venda") + 20
            assert selling.wait(60)
        finally:
            stop.set()
        stats = run.result(60)
    with psycopg.connect(source, autocommit=True) as connection:
        assert stats.reconnects > 0
        assert scalar(connection, WRONG_TOTALS) == 0
        assert scalar(connection, "SELECT count(*) FROM venda") >= stats.sales - stats.cancellations
        assert_all_ended(connection)


def test_what_no_repetition_mends_is_raised(source: str, connection: psycopg.Connection) -> None:
    connection.execute("ALTER TABLE item_venda DROP COLUMN quantidade")
    with pytest.raises(psycopg.errors.UndefinedColumn, match="quantidade"):
        simulator.run(source, Traffic(rate=50))
    assert_all_ended(connection)


def test_a_source_without_schema_or_base_data_is_refused(
    database: str, connection: psycopg.Connection
) -> None:
    with pytest.raises(
        SourceError, match=r"no schema \(relation \"cliente\" does not exist\): create it first"
    ):
        simulator.run(database)
    base.execute_file(connection, "create_schema.sql")
    with pytest.raises(SourceError, match="lacks base data"):
        simulator.run(database)


# The traffic, without a database.


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0}, "rate is 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"hold": (3, 1)}, r"hold is \(3, 1\)"),
        ({"deliveries": 1.5}, "deliveries is 1.5"),
        ({"late": -0.1}, "late is -0.1"),
        ({"late": 0.9, "prepared": 0.9}, "shares of the sales"),
    ],
)
def test_traffic_refuses_bad_values(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Traffic(**values)


@given(
    st.integers(),
    st.sampled_from([*SALES, None]),
    st.sets(st.sampled_from(list(OTHERS))),
)
def test_each_draw_is_one_sale_and_what_comes_with_it(seed: int, sale: str | None, others: set[str]) -> None:
    certain = {name: 1.0 for name in [*others, *([sale] if sale else [])]}
    first, *rest = Traffic(**{**QUIET, **certain}).draw(base.generator(seed))
    assert first is (SALES[sale] if sale else Application.sale)
    assert rest == [OTHERS[name] for name in OTHERS if name in others]


def test_more_long_transactions_take_more_writers() -> None:
    assert Traffic(**QUIET).writers < Traffic().writers < Traffic(hold=(20, 30)).writers
    assert set(LONG) <= {*SALES, *OTHERS}
