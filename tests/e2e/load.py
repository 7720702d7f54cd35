"""Many runs of executar_tarefa at once: their order, whether each runs once, and the API's response times meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event, Thread
from typing import Any

import requests

from include.conventions.queues import Queue
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from local.waiting import until
from tests import rest
from tests.e2e.runs import broker, gates
from trigger.errors import TriggerError

DAG_ID = "executar_tarefa"
PAGE = 100


@dataclass
class Probe:
    """The API's answers while the block runs: the time of each, and the failed requests."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self, client: rest.Rest) -> None:
        began = time.monotonic()
        try:
            client.get(f"/dags/{DAG_ID}/dagRuns", params={"limit": 1}).raise_for_status()
        except (requests.HTTPError, TriggerError) as error:
            self.failures.append(repr(error))
        self.seconds.append(time.monotonic() - began)

    def __str__(self) -> str:
        """Return the numbers on one line."""
        ordered = sorted(self.seconds)
        middle, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
        return (
            f"{len(ordered)} questions to the API: median {middle:.2f} s, 95 % within {late:.2f} s, "
            f"slowest {ordered[-1]:.2f} s, {len(self.failures)} without an answer"
        )


@contextmanager
def probing(deployment: Deployment) -> Iterator[Probe]:
    """Send a request to the API every half second until the block ends."""
    probe, over = Probe(), Event()

    def ask() -> None:
        with rest.admin(deployment.settings) as client:
            while not over.wait(0.5):
                probe.ask(client)

    thread = Thread(target=ask)
    thread.start()
    try:
        yield probe
    finally:
        over.set()
        thread.join()


@dataclass
class Load:
    """Runs that wait in the queues until a gate opens. They are queued in this order: low, default, high."""

    deployment: Deployment
    api: AirflowApi
    name: str
    slots: int
    each: int

    def run(self, patience: float) -> str:
        """Let all of them run; return the measurements. Raises AssertionError for any wrong result."""
        began = time.monotonic()
        total = self.slots + len(Queue) * self.each
        holders = [self.trigger("hold", Queue.LOW, n, gate=self.name) for n in range(self.slots)]
        self.until(lambda: self.left() == self.slots, patience)
        with ThreadPoolExecutor(4) as pool:
            for queue in reversed(Queue):
                list(pool.map(lambda n, queue=queue: self.trigger("count", queue, n), range(self.each)))
        triggered = time.monotonic()
        with broker(self.deployment) as queues:
            # The scheduler holds none back: all of them wait in the broker's queues, where a higher queue overtakes.
            self.until(lambda: all(queues.llen(queue.value) == self.each for queue in Queue), patience)
        waiting = time.monotonic()
        self.open()
        self.until(lambda: self.left() == total, patience)
        self.until(lambda: all(one["state"] == "success" for one in self.instances()), patience)
        ended = time.monotonic()
        found = self.instances()
        assert len(found) == total
        assert {one["try_number"] for one in found} == {1}
        assert Counter(self.lines()) == Counter(one["dag_run_id"] for one in found), "each ran exactly once"
        assert {one["hostname"] for one in found} == {"servidor01", "servidor02"}
        self.check_order([one for one in found if one["dag_run_id"] not in holders])
        return (
            f"{total} runs: triggered in {triggered - began:.0f} s, all in Celery's queues {waiting - triggered:.0f} s"
            f" later, done in {ended - waiting:.0f} s ({(total) / (ended - waiting):.2f} a second)"
        )

    def open(self) -> None:
        """Open the gate, so that the tasks that hold the slots end."""
        (gates(self.deployment) / self.name).touch()

    def check_order(self, found: list[dict[str, Any]]) -> None:
        """Check the order of the starts against the queues.

        A task starts a moment after a worker has taken it, so the first tasks of a queue may overtake the last ones of a
        higher queue: at most as many as there are slots.
        """
        order = [
            one["queue"] for one in sorted(found, key=lambda one: datetime.fromisoformat(one["start_date"]))
        ]
        for number, queue in enumerate(Queue, 1):
            last = max(place for place, name in enumerate(order, 1) if name in list(Queue)[:number])
            assert last <= number * self.each + self.slots, f"{queue} ended at place {last} of {order}"

    def trigger(self, function: str, queue: Queue, number: int, **more: str) -> str:
        """Create a run, and return its id."""
        run_id = f"{self.name}-{function}-{queue.value}-{number}"
        conf = {
            "tarefa": f"probes.{function}",
            "kwargs": {"name": self.file(run_id), **more},
            "queue": queue.value,
        }
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self.api.call("POST", f"/api/v2/dags/{DAG_ID}/dagRuns", json=body)
        return run_id

    def file(self, run_id: str) -> str:
        """Return the file that a run leaves its line in."""
        return f"{run_id}.ran"

    def lines(self) -> list[str]:
        """Return the run id of everything that ran, as often as it did."""
        found = gates(self.deployment).glob(f"{self.name}-*.ran")
        return [line for path in found for line in path.read_text().splitlines()]

    def left(self) -> int:
        """Return how many different runs have run."""
        return sum(1 for _ in gates(self.deployment).glob(f"{self.name}-*.ran"))

    def instances(self) -> list[dict[str, Any]]:
        """Return the task instances of all these runs."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.api.call(
                "GET",
                f"/api/v2/dags/{DAG_ID}/dagRuns/~/taskInstances",
                params={"limit": PAGE, "offset": len(found), "order_by": "run_after"},
            )
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return [one for one in found if one["dag_run_id"].startswith(f"{self.name}-")]

    def until(self, ask: Any, patience: float) -> None:
        """Wait until `ask` returns true."""
        until(
            ask,
            patience,
            lambda: f"{self.left()} have run",
            check=self.deployment.supervisor.check,
            pause=0.5,
        )
