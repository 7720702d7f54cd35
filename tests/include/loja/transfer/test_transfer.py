"""From a real MariaDB through S3 (moto) into PostgreSQL: what arrives, what is set aside, what is refused, deaths."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from pymysql.connections import Connection

from include.conventions import sql
from include.loja.errors import ComparisonError, OvertakenError, SourceError
from include.loja.transfer import export, publish
from include.loja.transfer.bucket import Bucket, Export, folder
from include.loja.transfer.destination import Destination
from include.loja.transfer.publish import Chunk
from include.loja.transfer.table import Figures
from tests.include.loja.conftest import Connect
from tests.include.loja.rows import execute, read

GRACE = timedelta(seconds=60)
EVER = datetime(1970, 1, 2, tzinfo=UTC)


def order(loja: Connection[Any], pedido_id: int, **values: Any) -> None:
    row = {"cliente_id": 1, "data": "2026-01-02", "valor_total": "10.50", "status": "pago", **values}
    execute(loja, "SET SESSION sql_mode = ''")
    execute(
        loja,
        f"INSERT INTO pedidos (pedido_id, {', '.join(row)}) VALUES (%s, {', '.join(['%s'] * len(row))})",
        pedido_id,
        *row.values(),
    )


def clock(loja: Connection[Any]) -> datetime:
    [(now,)] = read(loja, "SELECT UTC_TIMESTAMP(6)")
    return now.replace(tzinfo=UTC)


def extract(loja: Connection[Any], bucket: Bucket, start: datetime = EVER) -> tuple[export.Orders, Any]:
    window = start, clock(loja)
    return export.orders_changed(loja, bucket, "t", window, GRACE), window


def load(
    loja: Connection[Any], bucket: Bucket, dw: Destination, start: datetime = EVER, name: str = "run"
) -> None:
    found, window = extract(loja, bucket, start)
    with dw.session() as session:
        publish.orders(session, bucket, found, window, name)


def ask(dw: Destination, statement: str) -> list[tuple[Any, ...]]:
    with dw.session() as session:
        return session.read(statement)


def orders(dw: Destination) -> list[tuple[Any, ...]]:
    return ask(dw, "SELECT linha, pedido_id, valor_total, status FROM pedidos ORDER BY linha")


def aside(dw: Destination) -> list[tuple[Any, ...]]:
    return ask(dw, "SELECT linha, motivo FROM pedidos_rejeitados ORDER BY linha")


def product(loja: Connection[Any], *row: Any) -> None:
    execute(loja, "INSERT INTO produtos (nome, categoria, preco, estoque) VALUES (%s, %s, %s, %s)", *row)


def test_a_comparison_sees_one_state_whoever_publishes_meanwhile(dw: Destination) -> None:
    count = "SELECT count(*) FROM produtos_agg"
    with dw.session() as reader, dw.session() as other:
        assert reader.read(count) == [(0,)]
        other.run("INSERT INTO produtos_agg VALUES ('Roupas', 1, 1)")
        other.connection.commit()
        assert reader.read(count) == [(0,)]
        reader.connection.commit()
        assert reader.read(count) == [(1,)]


def test_products_arrive_enriched_with_their_totals(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    for number in range(100):
        product(loja, f"P{number}", "Roupas", "1.10", 2)
    product(loja, 'Mesa, "grande";\nnova', "Móveis", "99.99", 0)
    product(loja, "Bola", "Esportes", "0.01", 5)
    # For Redshift the same category, for MariaDB and PostgreSQL another.
    product(loja, "Rede", "Esportes ", "0.01", 2)
    product(loja, "Cadeira", "moveis", "10.00", 1)
    found = export.products(loja, bucket, "t")
    assert [part.rows for part in found.export.parts] == [40, 40, 24]
    assert found.others == {"Esportes": 1, "Esportes ": 1, "moveis": 1}
    with dw.session() as session:
        assert publish.products(session, bucket, found, "run") == 104
        publish.compare_products(session, found)
    assert ask(dw, "SELECT * FROM produtos_agg ORDER BY categoria") == [
        ("Esportes", Decimal("0.01"), 7),
        ("Móveis", Decimal("99.99"), 0),
        ("Roupas", Decimal("1.10"), 200),
        ("moveis", Decimal("10.00"), 1),
    ]
    assert ask(
        dw, "SELECT nome, categoria_id, valor_estoque FROM produtos WHERE categoria <> 'Roupas' ORDER BY 3"
    ) == [
        ('Mesa, "grande";\nnova', "CAT-004", Decimal("0.00")),
        ("Rede", None, Decimal("0.02")),
        ("Bola", None, Decimal("0.05")),
        ("Cadeira", None, Decimal("10.00")),
    ]


def test_a_product_that_the_warehouse_can_not_hold_stops_no_load(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    product(loja, "A", "Roupas", "1.10", 2)
    product(loja, "B\0", "Roupas ", "9.90", 3)
    product(loja, "C", "Mó\0veis", "7.00", 1)
    product(loja, "D", "Roupas", "1.20", 1)
    found = export.products(loja, bucket, "t")
    for _ in range(2):
        with dw.session() as session:
            assert publish.products(session, bucket, found, "run") == 2
            publish.compare_products(session, found)
    assert ask(dw, "SELECT produto_id, nome FROM produtos ORDER BY 1") == [(1, "A"), (4, "D")]
    assert ask(dw, "SELECT * FROM produtos_agg") == [("Roupas", Decimal("1.15"), 3)]
    assert ask(
        dw, "SELECT produto_id, valor_estoque, motivo FROM produtos_rejeitados ORDER BY produto_id"
    ) == [
        (2, Decimal("29.70"), "nome is 'B\\x00': it must not contain the character NUL"),
        (3, Decimal("7.00"), "categoria is 'Mó\\x00veis': it must not contain the character NUL"),
    ]
    # Once it is repaired, it arrives.
    execute(loja, "UPDATE produtos SET nome = 'B', categoria = 'Roupas'")
    with dw.session() as session:
        assert publish.products(session, bucket, export.products(loja, bucket, "t"), "again") == 4
    assert ask(dw, "SELECT count(*) FROM produtos_rejeitados") == [(0,)]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("produtos", "UPDATE produtos SET valor_estoque = valor_estoque + 0.01 WHERE produto_id = 1"),
        ("produtos", "DELETE FROM produtos WHERE produto_id = 1"),
        ("produtos_rejeitados", "INSERT INTO produtos_rejeitados VALUES (1, 0, '{}', 'none')"),
        ("produtos_agg", "UPDATE produtos_agg SET estoque_total = 1"),
        ("produtos_agg", "INSERT INTO produtos_agg VALUES ('x', 1, 1)"),
    ],
)
def test_the_validation_fails_on_any_difference(
    loja: Connection[Any], bucket: Bucket, dw: Destination, table: str, change: str
) -> None:
    product(loja, "A", "Roupas", "1.10", 2)
    product(loja, "B", "Roupas", "2.10", 2)
    found = export.products(loja, bucket, "t")
    with dw.session() as session:
        publish.products(session, bucket, found, "run")
        session.run(change)
        session.connection.commit()
        with pytest.raises(ComparisonError, match=f"^{table} (holds|has) "):
            publish.compare_products(session, found)


def test_orders_arrive_and_what_is_wrong_is_set_aside_with_its_reason(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    order(loja, 1)
    order(loja, 2, data="0000-00-00")
    order(loja, 3, status="???")
    order(loja, 4, valor_total="7.00")
    order(loja, 4, valor_total="7.00")
    order(loja, 5, status="novo")
    order(loja, 5, status="enviado")
    order(loja, (1 << 64) - 1)
    order(loja, 6, cliente_id=(1 << 64) - 1)
    load(loja, bucket, dw)
    assert orders(dw) == [
        (1, 1, Decimal("10.50"), "pago"),
        (5, 4, Decimal("7.00"), "pago"),
        (7, 5, Decimal("10.50"), "enviado"),
    ]
    assert aside(dw) == [
        (2, "data is 0000-00-00 00:00:00: it must be a date"),
        (3, "status is '???': it must be novo, pago, enviado, entregue, cancelado"),
        (4, "a copy of line 5"),
        (6, "an older version of line 7"),
        (8, "pedido_id is 18446744073709551615: it must be at most 9223372036854775807"),
        (9, "cliente_id is 18446744073709551615: it must be at most 9223372036854775807"),
    ]
    # The same once more is the same.
    load(loja, bucket, dw)
    assert len(orders(dw)) == 3
    assert len(aside(dw)) == 6


def test_changes_replace_and_lines_change_sides(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    order(loja, 1, status="novo")
    order(loja, 2, status="???")
    order(loja, 3)
    load(loja, bucket, dw)
    execute(loja, "UPDATE pedidos SET status = 'pago' WHERE linha IN (1, 2)")
    execute(loja, "UPDATE pedidos SET valor_total = -1 WHERE linha = 3")
    order(loja, 1, status="entregue")
    load(loja, bucket, dw)
    assert [(line, status) for line, _, _, status in orders(dw)] == [(2, "pago"), (4, "entregue")]
    assert [line for line, _ in aside(dw)] == [1, 3]


def test_an_older_line_counts_again_when_the_newest_is_no_order_any_more(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    order(loja, 1, status="novo")
    order(loja, 1, status="pago")
    order(loja, 2)
    load(loja, bucket, dw)
    since = clock(loja)
    execute(loja, "UPDATE pedidos SET status = '???' WHERE linha = 2")
    # As the next day's run does: the first line is not in its window.
    load(loja, bucket, dw, since, "next")
    assert [(line, status) for line, _, _, status in orders(dw)] == [(1, "novo"), (3, "pago")]
    assert [line for line, _ in aside(dw)] == [2]


def test_an_older_snapshot_does_not_replace_a_newer(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    order(loja, 1, status="novo")
    order(loja, 2, status="novo")
    early, window = extract(loja, bucket)
    execute(loja, "UPDATE pedidos SET status = 'pago' WHERE linha = 1")
    execute(loja, "UPDATE pedidos SET status = '???' WHERE linha = 2")
    load(loja, bucket, dw)
    with dw.session() as session:
        publish.orders(session, bucket, early, window, "late")
    assert [(line, status) for line, _, _, status in orders(dw)] == [(1, "pago")]
    assert [line for line, _ in aside(dw)] == [2]


def test_a_transaction_that_commits_late_is_read_by_the_next_run(
    loja: Connection[Any], connect: Connect, bucket: Bucket, dw: Destination
) -> None:
    late = connect()
    late.begin()
    order(late, 1)
    order(loja, 2)
    [(began,)] = read(loja, "SELECT MIN(trx_started) FROM information_schema.innodb_trx")
    load(loja, bucket, dw)
    late.commit()
    assert [line for line, *_ in orders(dw)] == [2]
    with dw.session() as session:
        until = publish.covered(session)
    assert until is not None
    assert until == began.replace(tzinfo=UTC) - GRACE
    load(loja, bucket, dw, start=until, name="next")
    assert [line for line, *_ in orders(dw)] == [1, 2]


def test_a_window_that_is_not_over_for_the_source_waits(loja: Connection[Any], bucket: Bucket) -> None:
    with pytest.raises(SourceError, match="before the window's end"):
        export.orders_changed(loja, bucket, "t", (EVER, clock(loja) + timedelta(minutes=1)), GRACE)


def test_readers_see_all_of_a_load_or_nothing(loja: Connection[Any], bucket: Bucket, dw: Destination) -> None:
    for number in range(60):
        order(loja, number + 1, status="novo")
    load(loja, bucket, dw)
    execute(loja, "UPDATE pedidos SET status = 'pago'")
    stop, seen = threading.Event(), set()

    def look() -> None:
        with dw.session() as session:
            while not stop.is_set():
                seen.add(tuple(session.read("SELECT status, COUNT(*) FROM pedidos GROUP BY status")))
                session.connection.commit()

    looking = threading.Thread(target=look)
    looking.start()
    load(loja, bucket, dw)
    stop.set()
    looking.join()
    assert seen
    assert seen <= {(("novo", 60),), (("pago", 60),)}


def test_two_loads_at_once_give_the_newer_state_whoever_is_first(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    for number in range(60):
        order(loja, number + 1, status="novo")
    early = extract(loja, bucket)
    execute(loja, "UPDATE pedidos SET status = 'pago'")
    late = extract(loja, bucket)
    start = threading.Barrier(4)
    failed = []

    def publish_one(found: export.Orders, window: Any, name: str) -> None:
        with dw.session() as session:
            start.wait()
            try:
                publish.orders(session, bucket, found, window, name)
            except Exception as error:  # noqa: BLE001 - told in the main thread
                failed.append(error)

    threads = [
        threading.Thread(target=publish_one, args=(*each, f"run-{number}"))
        for number, each in enumerate((early, late, early, late))
    ]
    ask(dw, "SELECT 1")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert ask(dw, "SELECT status, COUNT(*) FROM pedidos GROUP BY status") == [("pago", 60)]
    assert ask(dw, "SELECT ordem FROM cargas ORDER BY ordem") == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize("name", ["drop_overtaken", "publish", "insert_load"])
def test_a_loader_killed_in_the_middle_leaves_what_was_there(
    loja: Connection[Any], bucket: Bucket, dw: Destination, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    order(loja, 1, status="novo")
    load(loja, bucket, dw)
    execute(loja, "UPDATE pedidos SET status = 'pago'")
    found, window = extract(loja, bucket)
    real = sql.text

    with dw.session() as session:
        [(pid,)] = session.read("SELECT pg_backend_pid()")

        def dying(where: str, what: str) -> str:
            if what == name:
                ask(dw, f"SELECT pg_terminate_backend({pid})")
            return real(where, what)

        monkeypatch.setattr(sql, "text", dying)
        with pytest.raises(psycopg.Error):
            publish.orders(session, bucket, found, window, "dead")
    monkeypatch.setattr(sql, "text", real)
    assert [status for *_, status in orders(dw)] == ["novo"]
    with dw.session() as session:
        publish.orders(session, bucket, found, window, "again")
    assert [status for *_, status in orders(dw)] == ["pago"]
    assert ask(dw, "SELECT carga FROM cargas ORDER BY ordem") == [("run",), ("again",)]


def test_a_part_that_is_not_what_was_written_stops_the_load(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    for number in range(50):
        order(loja, number + 1)
    found, window = extract(loja, bucket)
    other, last = found.kept.parts
    bucket.client.copy_object(
        Bucket=bucket.name, Key=other.key, CopySource={"Bucket": bucket.name, "Key": last.key}
    )
    with (
        dw.session() as session,
        pytest.raises(ComparisonError, match=r"parte-00001.parquet is not the file"),
    ):
        publish.orders(session, bucket, found, window, "run")
    short = Export("pedidos", [last], found.kept.figures)
    with dw.session() as session, pytest.raises(ComparisonError, match="the stage of pedidos holds"):
        publish.stage_orders(session, bucket, [short], [])
    assert orders(dw) == []


def test_everything_in_chunks_replaces_everything_and_is_compared(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    for number in range(100):
        order(loja, number % 97 + 1, status="???" if number % 10 == 0 else "pago")
    load(loja, bucket, dw)
    execute(loja, "DELETE FROM pedidos WHERE linha = 50")
    ranges = export.chunks(loja, 30)
    assert [low for low, _ in ranges] == [0, 31, 62, 92]
    found = [export.orders_of_chunk(loja, bucket, "t", chunk, GRACE) for chunk in ranges]
    chunks = [Chunk(*chunk, each.source) for chunk, each in zip(ranges, found, strict=True)]
    until = min(each.until for each in found)
    with dw.session() as session:
        publish.stage_orders(
            session, bucket, [each.kept for each in found], [each.set_aside for each in found]
        )
        publish.begin(session, publish.ORDER_TABLES)
        publish.publish_all_orders(session, chunks, until, max(each.version for each in found), "whole")
        session.connection.commit()
        publish.compare_orders(session, chunks)
        assert publish.covered(session) == until
        assert publish.is_last(session, "pedidos", "whole")
        assert sum((chunk.source for chunk in chunks), Figures()).rows == 99
        session.run("UPDATE pedidos SET valor_total = valor_total + 1 WHERE linha = 45")
        with pytest.raises(ComparisonError, match=r"1 of 4 chunks differ: \[31, 62\): "):
            publish.compare_orders(session, chunks)


def test_what_was_read_before_a_whole_table_is_not_published_after_it(
    loja: Connection[Any], bucket: Bucket, dw: Destination
) -> None:
    order(loja, 1)
    order(loja, 2)
    product(loja, "A", "Roupas", "1.10", 2)
    older, window = extract(loja, bucket)
    older_products = export.products(loja, bucket, "t")
    execute(loja, "DELETE FROM pedidos WHERE pedido_id = 2")
    execute(loja, "UPDATE produtos SET preco = 5")
    [chunk] = export.chunks(loja, 100)
    whole = export.orders_of_chunk(loja, bucket, "t", chunk, GRACE)
    newer_products = export.products(loja, bucket, "t")
    with dw.session() as session:
        publish.stage_orders(session, bucket, [whole.kept], [whole.set_aside])
        publish.begin(session, publish.ORDER_TABLES)
        chunks = [Chunk(*chunk, whole.source)]
        publish.publish_all_orders(session, chunks, whole.until, whole.version, "whole")
        session.connection.commit()
    # The same load again is not overtaken by itself.
    for _ in range(2):
        with dw.session() as session:
            assert publish.products(session, bucket, newer_products, "newer") == 1
    with (
        dw.session() as session,
        pytest.raises(OvertakenError, match=r"^this load read pedidos at .*, but whole, which read"),
    ):
        publish.orders(session, bucket, older, window, "older")
    with (
        dw.session() as session,
        pytest.raises(OvertakenError, match=r"^this load read produtos at .*, but newer, which read"),
    ):
        publish.products(session, bucket, older_products, "older")
    assert ask(dw, "SELECT pedido_id FROM pedidos") == [(1,)]
    assert ask(dw, "SELECT preco FROM produtos") == [(Decimal("5.00"),)]
    # Not covered either: the next run reads it.
    assert ask(dw, "SELECT count(*) FROM cargas WHERE carga = 'older'") == [(0,)]


def test_a_user_who_does_not_see_other_transactions_is_told_which_grant_is_missing(
    loja: Connection[Any], bucket: Bucket, loja_name: str
) -> None:
    from include.loja import mysql

    execute(loja, "CREATE USER IF NOT EXISTS 'plain'@'127.0.0.1' IDENTIFIED BY 'p'")
    execute(loja, f"GRANT SELECT ON {loja_name}.* TO 'plain'@'127.0.0.1'")
    plain = mysql.connect(
        {"host": "127.0.0.1", "port": loja.port, "user": "plain", "password": "p", "database": loja_name}
    )
    with pytest.raises(SourceError, match=r"GRANT PROCESS ON \*\.\* TO this user"):
        export.orders_changed(plain, bucket, "t", (EVER, clock(loja)), GRACE)
    plain.close()
    execute(loja, "DROP USER 'plain'@'127.0.0.1'")


def test_a_manifest_is_there_or_not_and_a_run_has_a_folder_of_its_own(bucket: Bucket) -> None:
    assert bucket.get("a/none.json") is None
    bucket.put("a/one.json", Export("pedidos", [], Figures(1, 2, Decimal("3.10"), Decimal(4))).dump())
    assert Export.load(bucket.get("a/one.json") or {}).figures == Figures(1, 2, Decimal("3.10"), Decimal(4))
    assert bucket.remove("a/") == 1
    assert folder("d", "manual__2026-01-01T00:00:00+00:00") != folder(
        "d", "manual__2026-01-01T00-00-00-00-00"
    )
