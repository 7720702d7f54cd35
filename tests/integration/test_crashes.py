"""Guarantee 4: after a process is killed at any step, readers see nothing partial, and the next run converges."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import clickhouse_connect.driver.exceptions
import psycopg
import pytest

from include.mirror import contract
from include.mirror.batch import Batch
from include.mirror.errors import SourceError
from include.mirror.plan import Read, Work
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.integration.mover import Movers
from tests.integration.watch import Watcher
from tests.lab import Lab

STEPS = [
    "noted",
    "snapshot",
    "extracted",
    "staged",
    "verified",
    "published",
    "confirmed",
    "recorded",
]


@pytest.fixture(scope="module")
def movers() -> Iterator[Movers]:
    """Starts the processes that move."""
    with Movers() as movers:
        yield movers


def reader(lab: Lab) -> Watcher:
    """Poll the sales while the block runs. Fail if a key is there twice, or is gone again."""
    return Watcher(
        lab.clickhouse, {"venda": "SELECT venda_id, 0 FROM vendas_dw.venda"}, lambda _, keys: keys, pause=0.02
    )


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_next_run_converges(lab: Lab, movers: Movers, step: str) -> None:
    lab.run()
    lab.execute(
        "INSERT INTO venda (venda_id, valor_total) SELECT 1 + n * 9000000, n FROM generate_series(0, 4) AS n"
    )
    lab.execute("UPDATE venda SET entregue = 'S'")
    with reader(lab):
        assert movers.run(lab, step, "venda") == -signal.SIGKILL
        lab.execute("UPDATE venda SET entregue = 'N' WHERE venda_id > 9000000")
        lab.run()
    lab.assert_equal()


def test_the_stage_of_a_killed_process_is_dropped_once_it_is_old(lab: Lab, movers: Movers) -> None:
    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    assert movers.run(lab, "staged", "venda") == -signal.SIGKILL
    client, warehouse = lab.clickhouse.client(), lab.engine().warehouse

    def drop(age: timedelta) -> list[str]:
        return contract.drop_old_stages(warehouse, client, contract.read(warehouse, client), age)

    assert drop(timedelta(hours=1)) == []
    left = lab.query("SELECT name FROM system.tables WHERE name LIKE 'stage%' ORDER BY name")
    assert any(name.startswith("stage__venda__") for (name,) in left)
    # Two seconds, because ClickHouse keeps this time in whole seconds.
    time.sleep(2.1)
    assert sorted(drop(timedelta(seconds=1))) == [name for (name,) in left]
    client.close()


def test_a_retry_moves_only_what_is_left(lab: Lab) -> None:
    lab.options = replace(lab.options, max_rows=10, tasks=1)
    lab.execute("INSERT INTO venda (valor_total) SELECT n FROM generate_series(1, 45) AS n")
    planned = plan_to_now(lab)
    assert len(planned[0].passes) > 4
    recorded: list[Work] = []

    def break_in_the_middle(step: str, window: Work) -> None:
        if step == "recorded":
            recorded.append(window)
        if step == "snapshot" and any(
            isinstance(one, Read) and one.window.key_from is not None for one in recorded
        ):
            raise ConnectionError("the worker goes away")

    with pytest.raises(ConnectionError):
        lab.move(planned, lab.engine(observe=break_in_the_middle))
    first_try = len(recorded)
    lab.move(
        planned, lab.engine(observe=lambda step, w: recorded.append(w) if step == "recorded" else None), 2
    )
    assert 0 < first_try < len(recorded)
    assert len(recorded) == len(set(recorded)) == len(planned[0].reads)
    lab.assert_equal()


def plan_to_now(lab: Lab) -> list[Batch]:
    end = lab.now()
    return lab.plan((end - timedelta(seconds=1), end))


@pytest.mark.parametrize("step", ["snapshot", "staged"])
def test_postgres_restarted_in_the_middle(lab: Lab, postgres: Postgres, step: str) -> None:
    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    planned = plan_to_now(lab)
    with pytest.raises((SourceError, psycopg.Error)):
        lab.move(planned, lab.engine(observe=once(step, postgres.restart)))
    lab.move(planned, try_number=2)
    lab.assert_equal()


@pytest.mark.parametrize("step", ["snapshot", "staged", "published"])
def test_clickhouse_killed_in_the_middle(lab: Lab, clickhouse: ClickHouse, step: str) -> None:
    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    planned = plan_to_now(lab)

    crashed: list[str] = []

    def crash() -> None:
        crashed.append(step)
        clickhouse.kill()
        clickhouse.start()

    try:
        lab.move(planned, lab.engine(observe=once(step, crash)))
    except (clickhouse_connect.driver.exceptions.Error, OSError):
        lab.move(planned, try_number=2)
    assert crashed == [step]
    lab.assert_equal()


def once(step: str, act: Callable[[], None]) -> Callable[[str, Work], None]:
    done: list[str] = []

    def observe(reached: str, _work: Work) -> None:
        if reached == step and not done:
            done.append(reached)
            act()

    return observe
