"""The long campaign, `make soak`: writers never pause, and the mover, PostgreSQL and ClickHouse are killed at random."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.clickhouse import ClickHouse
from local.postgres import Postgres
from local.source.simulator import Traffic
from local.source.simulator import run as simulate
from tests.integration.test_crashes import environment_of
from tests.lab import Lab

MINUTES = float(os.environ.get("SOAK_MINUTES", "5"))


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 600)
def test_random_kills_for_minutes_lose_and_double_nothing(
    busy_lab: Lab, postgres: Postgres, clickhouse: ClickHouse
) -> None:
    lab, rng, stop = busy_lab, random.Random(20260101), threading.Event()
    traffic = Traffic(
        rate=25,
        hold=(0.5, 6.0),
        late=0.1,
        read_first=0.1,
        savepoints=0.05,
        prepared=0.05,
        late_deliveries=0.1,
    )
    lab.run()
    pool = ThreadPoolExecutor(1)
    writing = pool.submit(simulate, lab.dsn, traffic, seed=3, stop=stop)
    happened: dict[str, int] = {}
    deadline = time.monotonic() + MINUTES * 60
    while time.monotonic() < deadline:
        mover = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.mover", "none", "none"],
            env=environment_of(lab),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        event = rng.choices(["finishes", "killed", "clickhouse killed", "postgres restarted"], [4, 8, 2, 1])[
            0
        ]
        if event != "finishes":
            time.sleep(rng.uniform(0.8, 4.0))
        if event == "killed":
            mover.send_signal(signal.SIGKILL)
        elif event == "clickhouse killed":
            clickhouse.kill()
            clickhouse.start()
        elif event == "postgres restarted":
            postgres.restart()
        _, errors = mover.communicate()
        assert event != "finishes" or mover.returncode == 0, errors
        happened[event] = happened.get(event, 0) + 1
        assert not writing.done(), writing.result()
    stop.set()
    written = writing.result()
    pool.shutdown()
    for _ in range(3):
        lab.run()
    ledger = lab.query("SELECT kind, count(), sum(rows) FROM vendas_dw.cargas GROUP BY kind ORDER BY kind")
    print(
        f"\n{happened}\n{written}\nledger: {ledger}\nsales: {lab.query('SELECT count() FROM vendas_dw.venda')[0][0]}"
    )
    lab.assert_equal()
