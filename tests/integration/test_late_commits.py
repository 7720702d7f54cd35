"""Guarantee 2: rows of transactions that commit after their window was read. Guarantee 3: commit order wins.

Each test writes in transactions that are still open while windows are read. Each test also runs with re-reads switched off.
Then rows must be lost; otherwise the test would prove nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from include.mirror.ledger import Answers
from include.mirror.plan import LedgerState
from local.source.simulator import Traffic
from local.source.simulator import run as simulate
from tests.lab import Lab, wait_for_lock

Scenario = Callable[[Lab], None]


def written_early(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        lab.sell(writer)
        lab.run()
        lab.run()
        writer.commit()


def written_after_only_reading(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        writer.execute("SELECT count(*) FROM venda")
        lab.run()
        lab.sell(writer)
        lab.run()
        writer.commit()


def prepared_and_committed_later(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        lab.sell(writer)
        writer.execute("PREPARE TRANSACTION 'later'")
    lab.run()
    lab.run()
    lab.execute("COMMIT PREPARED 'later'")


def noted_as_a_session_then_prepared(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        lab.sell(writer)
        lab.run()
        writer.execute("PREPARE TRANSACTION 'turned'")
    lab.run()
    lab.run()
    lab.execute("COMMIT PREPARED 'turned'")


def with_savepoints_and_rollbacks(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        lab.sell(writer, "1.11")
        with writer.transaction(force_rollback=True):
            lab.sell(writer, "6.66")
        lab.run()
        with writer.transaction():
            lab.sell(writer, "2.22")
        lab.run()
        writer.commit()


def two_transactions_of_one_message(lab: Lab) -> None:
    """The second transaction has the message's start time, and is open while the window of the first is read."""

    message = (
        "BEGIN; SELECT pg_advisory_xact_lock(1); COMMIT; BEGIN;"
        " INSERT INTO venda (valor_total) VALUES (5.55); SELECT pg_advisory_xact_lock(2); COMMIT"
    )

    def write() -> None:
        with psycopg.connect(lab.dsn, autocommit=True) as writer:
            writer.pgconn.exec_(message.encode())

    with lab.connect() as holder:
        for lock in (1, 2):
            holder.execute("SELECT pg_advisory_lock(%s)", (lock,))
        thread = threading.Thread(target=write)
        thread.start()
        for lock in (1, 2):
            wait_for_lock(holder, lock)
            lab.run()
            holder.execute("SELECT pg_advisory_unlock(%s)", (lock,))
        thread.join()


def the_last_writer_began_first(lab: Lab) -> None:
    """The row's newer state has an earlier `updated_at`."""
    lab.run()
    with lab.connect(autocommit=False) as early:
        early.execute("SELECT 1")
        lab.execute("UPDATE produto SET preco_base = 20 WHERE produto_id = 1")
        lab.run()
        early.execute("UPDATE produto SET preco_base = 10 WHERE produto_id = 1")
        lab.run()
        early.commit()


SCENARIOS = [
    written_early,
    written_after_only_reading,
    prepared_and_committed_later,
    noted_as_a_session_then_prepared,
    with_savepoints_and_rollbacks,
    two_transactions_of_one_message,
    the_last_writer_began_first,
]


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """A lab in which every table has been read, so that no gap before the first row brings late rows by chance."""
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    return lab


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_rows_that_commit_late_arrive(lab: Lab, scenario: Scenario) -> None:
    scenario(lab)
    lab.run()
    lab.assert_equal()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_without_rereads_rows_are_lost(lab: Lab, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_what_is_owed(monkeypatch)
    scenario(lab)
    lab.run()
    with pytest.raises(AssertionError):
        lab.assert_equal()


def forget_what_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    state = Answers.__dict__["state"].fget

    def without_pending(known: Answers) -> LedgerState:
        return replace(state(known), pending=())

    monkeypatch.setattr(Answers, "state", property(without_pending))


def test_a_reread_moves_only_what_became_visible(lab: Lab) -> None:
    with lab.connect(autocommit=False) as writer:
        writer.execute("SELECT 1")
        with lab.connect() as connection:
            for _ in range(50):
                lab.sell(connection)
        lab.sell(writer)  # it gets its transaction id only now, above those of the 50
        lab.run()
        writer.commit()
    lab.run()
    rereads = lab.query("SELECT rows FROM vendas_dw.cargas WHERE kind = 'reread' AND tabela = 'venda'")
    assert rereads == [(1,)]
    lab.assert_equal()


def test_nobody_waits_for_a_long_reader(lab: Lab) -> None:
    with lab.connect(autocommit=False) as reader:
        reader.execute("SELECT 1")
        for _ in range(3):
            with lab.connect() as connection:
                lab.sell(connection)
            lab.run()
            lab.assert_equal()
    lab.run()
    lab.assert_equal()
    assert lab.ledger.state().pending == []


def test_many_writers_at_once_lose_nothing(busy_lab: Lab) -> None:
    lab, stop, written = busy_lab, threading.Event(), []
    traffic = Traffic(
        rate=40,
        hold=(0.2, 2.0),
        late=0.15,
        read_first=0.15,
        savepoints=0.1,
        prepared=0.1,
        late_deliveries=0.1,
    )
    writing = threading.Thread(target=lambda: written.append(simulate(lab.dsn, traffic, seed=11, stop=stop)))
    writing.start()
    for _ in range(6):
        lab.run()
    stop.set()
    writing.join()
    for _ in range(3):  # the last write's interval, its re-read, and the re-read of that re-read
        lab.run()
    assert written[0].late_commits + written[0].read_first_commits + written[0].prepared_commits > 0
    lab.assert_equal()
