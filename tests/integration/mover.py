"""The process that moves, for tests that kill it: plans a run and moves it, and dies by SIGKILL at a step.

    python -m tests.integration.mover STEP TABLE

The source's DSN, the ClickHouse password and its port come from the environment. STEP is a step that the
mirror reports, or `none`; the process kills itself when TABLE gets there.

`Movers` starts such processes for any declaration. They are forked from one that has imported everything, so that each
costs what its run costs.
"""

from __future__ import annotations

import base64
import os
import pickle
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

# The engine imports some of these once there is something to move.
import adbc_driver_postgresql.dbapi  # noqa: F401
import clickhouse_connect

import include.mirror.arrow
import include.mirror.verify  # noqa: F401
from include.mirror.batch import Batch
from include.mirror.declaration import Mirror
from include.mirror.engine import Engine
from include.mirror.plan import Work
from include.mirror.run import move_batch, plan_run
from include.mirror.source.session import Source
from include.mirror.warehouse.client import Warehouse
from include.vendas.tables import VENDAS
from tests.lab import OPTIONS, Lab

ROOT = Path(__file__).resolve().parents[2]
SERVE = "serve"


@dataclass(frozen=True)
class Servers:
    """Where the source and the warehouse are."""

    dsn: str
    port: int
    user: str
    password: str


def move(
    declaration: Mirror,
    servers: Servers,
    fim: datetime,
    step: str,
    table: str,
    planned: list[Batch] | None = None,
) -> None:
    """Plan a run that ends at `fim` and move it, or what was planned; die when `table` gets to `step`."""

    def die(reached: str, work: Work) -> None:
        if reached == step and work.tabela == table:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = Engine(
        declaration,
        Source(servers.dsn, ZoneInfo("UTC"), timedelta(minutes=5)),
        Warehouse(
            lambda: clickhouse_connect.get_client(
                host="127.0.0.1", port=servers.port, username=servers.user, password=servers.password
            ),
            declaration.storage,
            declaration.views,
        ),
        OPTIONS,
        die,
    )
    if planned is None:
        planned = plan_run(engine, {}, (fim - timedelta(seconds=1), fim))
    for batch in planned:
        move_batch(engine, batch, f"killed__{step}", 1)


class Movers:
    """Moving processes, one at a time; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.mover", SERVE],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, lab: Lab, step: str, table: str, planned: list[Batch] | None = None) -> int:
        """Plan and move a run that ends now, or move what was planned, in a process that dies when `table` gets to `step`;
        return its exit code."""
        clickhouse = lab.clickhouse
        servers = Servers(lab.dsn, clickhouse.port, clickhouse.user, clickhouse.password)
        job = base64.b64encode(pickle.dumps((lab.declaration, servers, lab.now(), step, table, planned)))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(job + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def serve() -> None:
    """Fork a process for each line of the standard input, and print its exit code, negative for a signal."""
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            try:
                move(*pickle.loads(base64.b64decode(line)))  # noqa: S301 - from the test that started this process
            except Exception:  # noqa: BLE001 - whatever it is, the exit code says so
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def main(step: str, table: str) -> None:
    """Move the sales system's tables of the environment's servers."""
    servers = Servers(
        os.environ["SOURCE_DSN"],
        int(os.environ["CLICKHOUSE_PORT"]),
        os.environ["CLICKHOUSE_USER"],
        os.environ["CLICKHOUSE_PASSWORD"],
    )
    move(VENDAS, servers, datetime.fromisoformat(os.environ["FIM"]), step, table)


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        serve()
    else:
        main(*sys.argv[1:])
