"""The process that moves, for tests that kill it: plans a run and moves it, and dies by SIGKILL at a step.

    python -m tests.integration.mover STEP TABLE

The source's DSN, the ClickHouse password and its port come from the environment. STEP is a step that the
mirror reports, or `none`; the process kills itself when TABLE gets there.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import clickhouse_connect

from include.mirror.move import Mirror
from include.mirror.source import Source
from include.mirror.warehouse import Warehouse
from include.mirror.window import Window
from include.vendas import etl
from include.vendas.tables import SQL, TABLES
from tests.lab import SETTINGS


def main(step: str, table: str) -> None:
    def die(reached: str, window: Window) -> None:
        if reached == step and window.tabela == table:
            os.kill(os.getpid(), signal.SIGKILL)

    mirror = Mirror(
        Source(os.environ["SOURCE_DSN"], ZoneInfo("UTC"), timedelta(minutes=5)),
        Warehouse(
            lambda: clickhouse_connect.get_client(
                host="127.0.0.1",
                port=int(os.environ["CLICKHOUSE_PORT"]),
                username=os.environ["CLICKHOUSE_USER"],
                password=os.environ["CLICKHOUSE_PASSWORD"],
            )
        ),
        TABLES,
        SQL,
        grace=SETTINGS.grace,
        observe=die,
    )
    fim = datetime.fromisoformat(os.environ["FIM"])
    planned = etl.plan_windows(mirror, SETTINGS, {}, (fim - timedelta(seconds=1), fim))
    for batch in planned:
        etl.move_batch(mirror, batch, f"killed__{step}", 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
