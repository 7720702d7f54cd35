"""Processes that move a run or reconcile a table. Tests kill them with SIGKILL at a step that the mirror reports.

`Movers` starts such processes for any declaration. They are forked from a process that has imported everything, so a process
costs no more than its run.
"""

from __future__ import annotations

import base64
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Self
from uuid import uuid4
from zoneinfo import ZoneInfo

# The engine imports some of these later, when there is something to move.
import adbc_driver_postgresql.dbapi  # noqa: F401
import clickhouse_connect

import include.mirror.arrow
import include.mirror.verify  # noqa: F401
from include.mirror.batch import Batch
from include.mirror.declaration import Mirror
from include.mirror.engine import Engine, Options
from include.mirror.ledger import Attempt
from include.mirror.plan import Repair, Work
from include.mirror.reconcile import Limits, ReconcileOptions, reconcile
from include.mirror.run import move_batch, plan_run
from include.mirror.source.clock import clock
from include.mirror.source.session import Source
from include.mirror.warehouse.client import Warehouse
from tests.lab import OPTIONS, Lab

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Death:
    """When a process kills itself: when `table` gets to `step` for the nth time, in reads of one `kind` if it is given.

    A process that reconciles has one more step, `waiting`, each time it waits for the mirror.
    """

    step: str
    table: str
    kind: str | None = None
    nth: int = 1


NEVER = Death("none", "none")


class _Dying:
    """Counts how often the step was reached, and kills the process at the nth time."""

    def __init__(self, death: Death) -> None:
        self.death = death
        self.reached = 0

    def __call__(self, step: str, work: Work) -> None:
        death = self.death
        if step == death.step and work.tabela == death.table and death.kind in (None, work.kind):
            self.reached += 1
            if self.reached == death.nth:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Job:
    """The job of one process: move planned batches, or plan and move a run that ends at `fim`, or reconcile `tables`.

    With `schedule`, a reconciliation does such runs itself while it waits. `label` is the name of its runs.
    """

    declaration: Mirror
    dsn: str
    port: int
    user: str
    password: str
    fim: datetime
    death: Death = NEVER
    planned: list[Batch] | None = None
    options: Options = OPTIONS
    tables: tuple[str, ...] = ()
    schedule: bool = True
    label: str = "killed"

    def run(self) -> None:
        """Do the job."""
        dying = _Dying(self.death)
        engine = Engine(
            self.declaration,
            Source(self.dsn, ZoneInfo("UTC"), timedelta(minutes=5)),
            Warehouse(
                lambda: clickhouse_connect.get_client(
                    host="127.0.0.1", port=self.port, username=self.user, password=self.password
                ),
                self.declaration.storage,
                self.declaration.views,
            ),
            self.options,
            dying,
        )
        if not self.tables:
            self._move(engine, self.fim, self.planned)
            return

        for table in self.tables:

            def wait(waiting: str = table) -> None:
                dying("waiting", Repair(waiting, ()))
                if self.schedule:
                    with engine.source.connect() as source:
                        fim = clock(source)
                    self._move(engine, fim)
                else:
                    time.sleep(0.2)

            reconcile(
                engine,
                table,
                ReconcileOptions(confirmed=True),
                Attempt(uuid4(), self.label, 1),
                Limits(share=1, patience=timedelta(seconds=60)),
                wait=wait,
            )

    def _move(self, engine: Engine, fim: datetime, planned: list[Batch] | None = None) -> None:
        if planned is None:
            planned = plan_run(engine, {}, (fim - timedelta(seconds=1), fim))
        for batch in planned:
            move_batch(engine, batch, self.label, 1)


@dataclass
class Running:
    """A running process."""

    pid: int
    _codes: IO[bytes]

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    @property
    def has_ended(self) -> bool:
        """Return whether `wait` would return at once."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def wait(self) -> int:
        """Wait for the process to end. Return its exit code, negative for a signal."""
        return int(self._codes.readline())


class Movers:
    """A context manager that starts processes which move or reconcile, one at a time."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.mover"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, lab: Lab, death: Death = NEVER, **more: Any) -> Running:
        """Start a process for a run that ends now, or for a reconciliation. `more` are further fields of its Job."""
        clickhouse = lab.clickhouse
        job = Job(
            lab.declaration,
            lab.dsn,
            clickhouse.port,
            clickhouse.user,
            clickhouse.password,
            lab.now(),
            death,
            options=lab.options,
            **more,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(base64.b64encode(pickle.dumps(job)) + b"\n")
        self._process.stdin.flush()
        return Running(int(self._process.stdout.readline()), self._process.stdout)

    def run(self, lab: Lab, step: str, table: str, planned: list[Batch] | None = None) -> int:
        """In a process, plan and move a run that ends now, or move planned batches. The process kills itself when `table`
        gets to `step`. Return its exit code."""
        return self.start(lab, Death(step, table), planned=planned).wait()


def serve() -> None:
    """Fork a process for each line of standard input. Print its id, and then its exit code, negative for a signal."""
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            try:
                pickle.loads(base64.b64decode(line)).run()  # noqa: S301 - from the test that started this process
            except Exception:  # noqa: BLE001 - whatever it is, the exit code says so
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    # Imported by its full name, so that pickled objects of other processes can be loaded.
    from tests.integration import mover

    mover.serve()
