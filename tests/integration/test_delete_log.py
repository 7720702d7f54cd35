"""Deleted rows are found by a log that triggers in the source write."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from secrets import token_hex, token_urlsafe
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from include.mirror import delete_log
from include.mirror.__main__ import main
from include.mirror.declaration import Table
from include.mirror.errors import RefusedError
from include.mirror.plan import Log, Work
from include.mirror.run import move_batch
from include.vendas.tables import VENDAS
from local.source.base import SQL_FOLDER, execute_file
from tests.lab import Lab


def install(lab: Lab, *tables: str) -> None:
    """Create the logs of these tables as the source's owner, twice. The second time must change nothing."""
    text = lab.delete_log(*tables)
    for _ in range(2):
        lab.execute(text)


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """A thousand rows in `coisa`. It has a log and has been read."""
    lab.execute("CREATE TABLE coisa (id int PRIMARY KEY, nome text)")
    lab.execute("INSERT INTO coisa SELECT n, 'nome ' || n FROM generate_series(1, 1000) n")
    install(lab, "coisa")
    lab.mirror_only("coisa")
    lab.run()
    return lab


def logged(lab: Lab) -> list[Any]:
    """Return, for each reading of a log, the number of tombstones, and whether the next run has to compare all keys."""
    return lab.query("SELECT rows, log = '' FROM vendas_raw.cargas WHERE kind = 'log' ORDER BY version")


def compared(lab: Lab, action: Callable[[], object]) -> bool:
    """Return whether a run compares all keys of a table with a log."""
    steps: list[Any] = []

    def observe(step: str, work: Work) -> None:
        if work.kind == "log" and step == "planned":
            steps.append(work)

    planned = lab.plan((lab.now(), lab.now()))
    reads = [read for batch in planned for read in batch.reads if isinstance(read, Log)]
    action()
    for batch in planned:
        move_batch(lab.engine(observe=observe), batch, "run", 1)
    return any(read.xmin is None for read in reads)


def test_deleted_keys_changed_keys_and_truncate_in_the_next_run(filled: Lab) -> None:
    lab = filled
    for statement, gone in {
        "DELETE FROM coisa WHERE id <= 100": 100,
        "UPDATE coisa SET id = id + 10000 WHERE id BETWEEN 101 AND 110": 10,
        # Two rows exchange their keys: both keys still exist.
        "UPDATE coisa SET id = CASE id WHEN 200 THEN 201 WHEN 201 THEN 200 ELSE id END + 0 WHERE id = 0": 0,
        "UPDATE coisa SET nome = 'other' WHERE id = 300": 0,
        "WITH x AS (DELETE FROM coisa WHERE id = 301 RETURNING *) SELECT 1 FROM x": 1,
    }.items():
        lab.execute(statement)
        lab.run()
        lab.assert_equal()
        assert logged(lab)[-1] == (gone, False)
    lab.execute("TRUNCATE coisa")
    lab.execute("INSERT INTO coisa VALUES (5, 'again'), (500, 'again')")
    lab.run()
    lab.assert_equal()
    assert lab.query("SELECT count() FROM vendas_dw.coisa") == [(2,)]
    lab.run()
    # After the comparison that a TRUNCATE needs, only the log is read again.
    assert logged(lab)[-1] == (0, False)


def test_keys_that_come_back_end_as_in_the_source(filled: Lab) -> None:
    lab = filled
    with lab.connect(autocommit=False) as connection:
        connection.execute("DELETE FROM coisa WHERE id < 10")
        connection.execute("INSERT INTO coisa SELECT n, 'back' FROM generate_series(1, 5) n")
        connection.commit()
    lab.run()
    lab.assert_equal()
    lab.execute("DELETE FROM coisa WHERE id < 5")
    planned = lab.plan((lab.now(), lab.now()))
    lab.execute("INSERT INTO coisa VALUES (1, 'after planning')")
    lab.move(planned)
    lab.execute("DELETE FROM coisa WHERE id = 1")
    lab.execute("INSERT INTO coisa VALUES (2, 'x')")
    lab.run()
    lab.assert_equal()


@pytest.mark.parametrize("kind", ["rolled back", "savepoint", "committed late", "prepared"])
def test_transactions_of_every_kind(filled: Lab, kind: str) -> None:
    lab = filled
    with lab.connect(autocommit=False) as late:
        late.execute("DELETE FROM coisa WHERE id = 1")
        late.execute("SAVEPOINT s")
        late.execute("DELETE FROM coisa WHERE id = 2")
        if kind == "savepoint":
            late.execute("ROLLBACK TO s")
        lab.execute("DELETE FROM coisa WHERE id = 3")
        lab.run()
        assert lab.query("SELECT groupArray(id) FROM vendas_dw.coisa WHERE id < 4") == [([1, 2],)]
        if kind == "prepared":
            late.execute("PREPARE TRANSACTION 'gone'")
            lab.run()
            lab.execute("COMMIT PREPARED 'gone'")
        elif kind == "rolled back":
            late.rollback()
        else:
            late.commit()
    lab.run()
    lab.assert_equal()
    left = {"rolled back": [1, 2], "savepoint": [2]}.get(kind, [])
    assert lab.query("SELECT groupArray(id) FROM vendas_dw.coisa WHERE id < 4") == [(left,)]


def test_cascades_foreign_sessions_and_replicated_writes_are_logged(filled: Lab) -> None:
    lab = filled
    lab.execute("CREATE TABLE parte (id int PRIMARY KEY, coisa_id int REFERENCES coisa ON DELETE CASCADE)")
    lab.execute("INSERT INTO parte SELECT n, n FROM generate_series(1, 10) n")
    install(lab, "parte")
    lab.mirror_only("coisa", "parte")
    lab.run()
    lab.execute("DELETE FROM coisa WHERE id <= 3")
    lab.run()
    lab.assert_equal()
    with lab.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM coisa WHERE id BETWEEN 20 AND 30")
    lab.run()
    lab.assert_equal()
    lab.execute("TRUNCATE coisa CASCADE")
    lab.run()
    lab.assert_equal()
    assert lab.query("SELECT count() FROM vendas_dw.parte") == [(0,)]


def test_partitions(lab: Lab) -> None:
    lab.execute(
        "CREATE TABLE medida (dia date, n int, valor text, PRIMARY KEY (dia, n)) PARTITION BY RANGE (dia)"
    )
    for month in (1, 2, 3):
        lab.execute(
            f"CREATE TABLE medida_{month} PARTITION OF medida"
            f" FOR VALUES FROM ('2026-0{month}-01') TO ('2026-0{month + 1}-01')"
        )
    lab.execute(
        "INSERT INTO medida SELECT '2026-01-01'::date + n % 85, n, 'v' FROM generate_series(1, 900) n"
    )
    lab.execute("ANALYZE medida")
    install(lab, "medida")
    lab.mirror_only("medida")
    lab.run()
    for statement in (
        "DELETE FROM medida WHERE n < 10",
        "DELETE FROM medida_2 WHERE n % 7 = 0",
        "UPDATE medida SET dia = dia + 31 WHERE n BETWEEN 20 AND 30 AND dia < '2026-02-20'",
        "TRUNCATE medida_1",
        "ALTER TABLE medida DETACH PARTITION medida_3",
        # A partition without its own TRUNCATE trigger: the log may be incomplete from now on.
        "CREATE TABLE medida_4 PARTITION OF medida FOR VALUES FROM ('2026-04-01') TO ('2026-05-01')",
    ):
        lab.execute(statement)
        lab.options = replace(lab.options, compare_keys=1000 if "medida_4" in statement else 0)
        lab.run()
        lab.assert_equal()
    lab.execute("INSERT INTO medida VALUES ('2026-04-02', 1, 'x')")
    lab.run()
    lab.execute("TRUNCATE medida_4")
    lab.run()
    lab.assert_equal()
    install(lab, "medida")
    lab.run()
    assert logged(lab)[-1][1] is False or logged(lab)[-1][1] == 0
    lab.execute("DELETE FROM medida WHERE n > 800")
    lab.run()
    lab.assert_equal()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE coisa DISABLE TRIGGER mirror_delete; DELETE FROM coisa WHERE id = 7;"
        " ALTER TABLE coisa ENABLE ALWAYS TRIGGER mirror_delete",
        'TRUNCATE mirror."public.coisa"',
        'CREATE OR REPLACE FUNCTION mirror."public.coisa"() RETURNS trigger LANGUAGE plpgsql AS'
        " $$ BEGIN RETURN NULL; END $$; DELETE FROM coisa WHERE id = 7",
    ],
)
def test_a_log_that_somebody_has_changed_is_not_believed(filled: Lab, change: str) -> None:
    lab = filled
    lab.execute("DELETE FROM coisa WHERE id = 8")
    lab.execute(change)
    lab.run()
    lab.assert_equal()


def test_a_log_whose_triggers_are_off_is_not_used(filled: Lab) -> None:
    lab = filled
    lab.execute("ALTER TABLE coisa DISABLE TRIGGER mirror_truncate")
    assert lab.spec("coisa").log is None
    lab.mirror_only(Table("coisa", deletes="log"))
    with pytest.raises(
        RefusedError,
        match=r"mirror_truncate is missing or not ENABLE ALWAYS.*delete-log --table public\.coisa",
    ):
        lab.run()


def test_what_is_wrong_with_a_log_sets_its_table_aside_and_says_what_mends_it(filled: Lab) -> None:
    lab = filled
    lab.execute('ALTER TABLE mirror."public.coisa" ADD COLUMN mais int')
    with pytest.raises(
        RefusedError,
        match=r'"mirror"\."public\.coisa", has columns \(id integer, mais integer\), and the key is \(id integer\): drop it',
    ):
        lab.run()
    lab.execute('ALTER TABLE mirror."public.coisa" DROP COLUMN mais')
    lab.run()
    lab.execute("CREATE TABLE outra (id int PRIMARY KEY)")
    lab.mirror_only(Table("outra", deletes="log"))
    with pytest.raises(RefusedError, match=r"public\.outra has no log of deleted keys: run what"):
        lab.run()


def as_reader(lab: Lab, *grants: str) -> str:
    """Let the mirror connect as a role that may read `coisa` and has these further grants. Return the owner's DSN."""
    owner, name = lab.dsn, f"leitor_{token_hex(4)}"
    password = token_urlsafe(12)
    lab.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    for grant in ("GRANT SELECT ON coisa TO {role}", "GRANT pg_read_all_stats TO {role}", *grants):
        lab.execute(grant.format(role=name))
    lab.dsn = psycopg.conninfo.make_conninfo(owner, user=name, password=password)
    return owner


def test_a_role_that_may_not_read_the_log_gets_the_grant_it_lacks(filled: Lab) -> None:
    lab = filled
    as_reader(lab)
    with pytest.raises(
        RefusedError, match=r'run GRANT USAGE ON SCHEMA mirror TO "leitor_\w+"; GRANT SELECT, DELETE ON'
    ):
        lab.run()


@pytest.mark.parametrize(
    ("statement", "of_a_range"),
    [
        ("DELETE FROM coisa WHERE id = 2000", False),
        # A pass that reads the log holds up who empties it.
        ('DELETE FROM coisa WHERE id = 2000; TRUNCATE mirror."public.coisa"', True),
    ],
)
def test_what_an_older_snapshot_publishes_later_goes_too(
    filled: Lab, statement: str, of_a_range: bool
) -> None:
    lab, since = filled, filled.now()
    lab.execute("INSERT INTO coisa VALUES (2000, 'new')")
    asked = {"inicio": since.isoformat(), "fim": lab.now().isoformat()} if of_a_range else None
    planned = lab.plan((lab.now(), lab.now()), asked)
    done: list[str] = []

    def meanwhile(step: str, work: Work) -> None:
        if step == "verified" and work.kind == "scan" and not done:
            done.append(step)
            # The row is staged and not published yet. Now it is deleted, and another run sees that.
            lab.execute(statement)
            lab.run()

    for batch in planned:
        move_batch(lab.engine(observe=meanwhile), batch, "older", 1)
    assert done
    lab.run()
    lab.run()
    lab.assert_equal()


def test_every_kind_of_key(lab: Lab) -> None:
    from tests.integration import mixed

    with lab.connect() as connection:
        connection.execute(mixed.TYPES_OF_THEIR_OWN.encode())
        shapes = [shape for shape in mixed.SHAPES if not shape.view and "moeda" not in str(shape.key.types)]
        for shape in shapes:
            for statement in (*shape.create(), shape.insert(1, 12)):
                connection.execute(statement.encode())
    tables = [f"{shape.schema}.{shape.name}" for shape in shapes]
    lab.execute(lab.delete_log(*(mixed.pg(shape.schema) + "." + mixed.pg(shape.name) for shape in shapes)))
    lab.mirror_only(*(shape.declared for shape in shapes))
    lab.run()
    with lab.connect() as connection:
        for shape in shapes:
            connection.execute(shape.delete(3).encode())
            connection.execute(shape.change_key(5, 40).encode())
    # A change column of whole seconds may be rounded up.
    lab.run(fim=lab.now() + timedelta(seconds=1))
    lab.assert_equal()
    by_log: dict[str, int] = {
        name: rows
        for name, rows in lab.query(
            "SELECT tabela, max(rows) FROM vendas_raw.cargas WHERE kind = 'log' GROUP BY tabela"
        )
    }
    assert len(by_log) >= len(tables) - 2
    assert set(by_log.values()) == {2}


def test_pruning_keeps_what_another_mirror_may_not_have_read(
    filled: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = filled

    def rows() -> int:
        with lab.connect() as connection:
            row = connection.execute('SELECT count(*) FROM mirror."public.coisa"').fetchone()
            assert row is not None
            return int(row[0])

    lab.execute("DELETE FROM coisa WHERE id <= 10")
    lab.run()
    lab.run()
    assert rows() == 10
    monkeypatch.setattr("include.mirror.run.KEPT", timedelta(0))
    lab.execute("DELETE FROM coisa WHERE id = 11")
    lab.run()
    # The previous reading has seen the first ten rows.
    assert rows() == 1
    lab.assert_equal()
    # Another mirror that has not read the log for this long compares all keys.
    monkeypatch.setattr("include.mirror.run.TRUSTED", timedelta(0))
    lab.execute("DELETE FROM coisa WHERE id = 12")
    lab.execute('DELETE FROM mirror."public.coisa"')
    lab.run()
    lab.assert_equal()


def test_without_the_right_to_delete_the_log_grows_and_the_run_goes_on(
    filled: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab = filled
    lab.execute("DELETE FROM coisa WHERE id = 13")
    lab.run()
    owner = as_reader(
        lab,
        "GRANT USAGE ON SCHEMA mirror TO {role}",
        'GRANT SELECT ON mirror."public.coisa" TO {role}',
        "ALTER ROLE {role} SET default_transaction_read_only = on",
    )
    reader = lab.dsn
    monkeypatch.setattr("include.mirror.run.KEPT", timedelta(0))
    lab.run()
    assert "nothing can be deleted from it" in caplog.text
    [grant] = re.findall(r'GRANT DELETE ON "mirror"\."public\.coisa" TO "leitor_\w+"', caplog.text)
    caplog.clear()
    lab.dsn = owner
    lab.execute(grant)
    lab.dsn = reader
    lab.run()
    assert "nothing can be deleted" not in caplog.text


def test_a_name_that_postgresql_could_not_hold() -> None:
    long = delete_log.log_name("esquema", "é" * 31)
    assert len(long.encode()) <= 63
    assert long != delete_log.log_name("esquemb", "é" * 31)
    assert delete_log.log_name("public", "venda") == "public.venda"


def test_the_logs_of_the_sales_tables_are_what_the_command_prints(lab: Lab) -> None:
    shipped = (SQL_FOLDER / "create_delete_logs.sql").read_text()
    assert shipped == lab.delete_log(options=("--schema", "public", "--role", "mirror_reader"))
    with lab.connect() as connection:
        for script in ("create_reader_role.sql", "create_delete_logs.sql", "create_delete_logs.sql"):
            execute_file(connection, script)
        for _ in range(3):
            lab.sell(connection)
    lab.run()
    lab.execute("DELETE FROM item_venda WHERE venda_id = 1; DELETE FROM venda WHERE venda_id = 1")
    lab.run()
    lab.assert_equal()
    assert {lab.spec(name).log is not None for name in VENDAS.names} == {True}
    assert lab.query("SELECT uniqExact(tabela) FROM vendas_raw.cargas WHERE kind = 'log'") == [(6,)]


def test_what_can_have_no_log_is_refused_by_name(lab: Lab) -> None:
    lab.execute("CREATE TABLE sem_chave (a int); CREATE VIEW vista AS SELECT 1 AS id")
    wanted = ("public.sem_chave", "public.vista", "public.pais", "public.nada")
    result = CliRunner().invoke(
        main, ["delete-log", "--source", lab.dsn, *(part for name in wanted for part in ("--table", name))]
    )
    assert result.exit_code == 1
    assert '-- public.pais\nCREATE TABLE IF NOT EXISTS "mirror"."public.pais"' in result.stdout
    refused = [line for line in result.stderr.splitlines() if line.startswith("refused: ")]
    assert len(refused) == 3
    assert all(any(name in line for line in refused) for name in wanted if name != "public.pais")
