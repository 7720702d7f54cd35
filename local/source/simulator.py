"""Writes to the sales system like an application, until it is stopped.

A dispatcher distributes transactions at the given rate. Writers, each a thread with its own connection, run them. Most
transactions are short. Some write at once and commit seconds later; some read for seconds and then write; some roll back,
completely or to a savepoint; some are prepared and committed later (`local.source.transactions`).
"""

from __future__ import annotations

import itertools
import math
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal

import psycopg
from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)

from local.source.base import SourceError, generator
from local.source.transactions import Application, Committed, Connection, Pause

APPLICATION_NAME = "sales simulator"
RECONNECT_SECONDS = 120.0
MAX_WRITERS = 64

Transaction = Callable[[Application, Connection, random.Random, Pause], Committed]
# Fields of Traffic: the special kinds of sales, and the transactions in addition to sales.
SALES: dict[str, Transaction] = {
    "late": Application.late_sale,
    "read_first": Application.sale_after_reading,
    "savepoints": Application.sale_with_savepoints,
    "prepared": Application.prepared_sale,
}
OTHERS: dict[str, Transaction] = {
    "rollbacks": Application.abandoned_sale,
    "deliveries": Application.delivery,
    "late_deliveries": Application.late_delivery,
    "client_changes": Application.client_change,
    "late_client_changes": Application.late_client_change,
    "new_clients": Application.new_client,
    "price_changes": Application.price_change,
    "cancellations": Application.cancellation,
    "late_cancellations": Application.late_cancellation,
    "key_changes": Application.key_change,
}
_Jobs = queue.Queue[tuple[Transaction, int]]
LONG = (*SALES, "late_deliveries", "late_client_changes", "late_cancellations")


@dataclass(frozen=True)
class Traffic:
    """The traffic: `rate` in sales per second, `hold` as the shortest and longest duration of a long transaction in
    seconds, and shares from 0 to 1.

    The first four shares are the parts of the sales that are of this special kind. The others are the numbers of additional
    transactions per sale. `prepared` needs a server with max_prepared_transactions above 0. `cancellations` and
    `late_cancellations` delete rows, and `key_changes` change keys: no timestamp shows either.
    """

    rate: float = 10.0
    hold: tuple[float, float] = (1.0, 8.0)
    late: float = 0.03
    read_first: float = 0.03
    savepoints: float = 0.02
    prepared: float = 0.0
    rollbacks: float = 0.05
    deliveries: float = 0.40
    late_deliveries: float = 0.02
    client_changes: float = 0.10
    late_client_changes: float = 0.02
    new_clients: float = 0.05
    price_changes: float = 0.05
    cancellations: float = 0.0
    late_cancellations: float = 0.0
    key_changes: float = 0.0

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"rate is {self.rate}: it must be above 0")
        if not 0 <= self.hold[0] <= self.hold[1]:
            raise ValueError(f"hold is {self.hold}: it must be two times in seconds, the shorter one first")
        for name in (*SALES, *OTHERS):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is {share}: it must be from 0 to 1")
        if (together := sum(getattr(self, name) for name in SALES)) > 1:
            raise ValueError(
                f"{', '.join(SALES)} are {together:g} together: they are shares of the sales, at most 1"
            )

    @property
    def writers(self) -> int:
        """The number of writers that this traffic needs. Most of them wait in long transactions."""
        long_at_once = self.rate * sum(getattr(self, name) for name in LONG) * sum(self.hold) / 2
        return min(MAX_WRITERS, 4 + math.ceil(1.5 * long_at_once))

    def draw(self, rng: random.Random) -> Iterator[Transaction]:
        """Yield one sale and its additional transactions."""
        point = rng.random()
        for name, sale in SALES.items():
            if point < (share := getattr(self, name)):
                yield sale
                break
            point -= share
        else:
            yield Application.sale
        for name, other in OTHERS.items():
            if rng.random() < getattr(self, name):
                yield other


@dataclass(frozen=True)
class Stats:
    """The committed rows; `*_commits` and `*rollbacks` are in transactions. `revenue` is the sum of the sales.

    If a connection is lost during a commit, the transaction is repeated. So after a reconnect, the database may have more
    rows than these figures. Without reconnects, the figures are exact.
    """

    sales: int = 0
    items: int = 0
    revenue: Decimal = Decimal(0)
    deliveries: int = 0
    client_changes: int = 0
    new_clients: int = 0
    price_changes: int = 0
    cancellations: int = 0
    key_changes: int = 0
    late_commits: int = 0
    read_first_commits: int = 0
    prepared_commits: int = 0
    savepoint_rollbacks: int = 0
    rollbacks: int = 0
    reconnects: int = 0
    abandoned: int = 0
    seconds: float = 0.0

    def plus(self, committed: Committed) -> Stats:
        """Return these figures with the amounts added."""
        return replace(self, **{name: getattr(self, name) + amount for name, amount in committed.items()})

    def as_json(self) -> dict[str, int | float | str]:
        """Return the figures as values for JSON. Money is text, so that it is not rounded."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**values, "revenue": str(self.revenue), "seconds": round(self.seconds, 1)}


def run(
    dsn: str,
    traffic: Traffic | None = None,
    seed: int = 1,
    writers: int | None = None,
    stop: threading.Event | None = None,
    seconds: float | None = None,
    progress: Callable[[Stats], None] | None = None,
) -> Stats:
    """Write until `stop` is set or `seconds` have passed; return the committed totals.

    At the end, long transactions stop waiting and complete; none is left open or prepared. `progress` is called about once a
    second. When all writers are busy, the rate falls. It waits up to two minutes for a restart of the database. Raises
    SourceError without schema or base data, psycopg.Error if retries do not help.
    """
    traffic = traffic or Traffic()
    with _connect(dsn) as connection:
        try:
            application = Application(connection)
        except psycopg.errors.UndefinedTable as error:
            raise SourceError(
                f"the source has no schema ({error.diag.message_primary}): create it first"
            ) from None
        if traffic.prepared and not application.can_prepare(connection):
            raise SourceError(
                "the source's server has max_prepared_transactions = 0: `prepared` must be 0 too"
            )
        application.roll_back_orphans(connection, older_than=traffic.hold[1] + 60)
    writing = _Run(dsn, application, traffic, seed, stop or threading.Event())
    return writing.until(seconds, writers or traffic.writers, progress)


class _Run:
    def __init__(
        self, dsn: str, application: Application, traffic: Traffic, seed: int, stop: threading.Event
    ) -> None:
        self._dsn = dsn
        self._application = application
        self._traffic = traffic
        self._seed = seed
        self._stop = stop
        # A second event: only the caller sets its own. This one is set when the time is over, or a writer fails.
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._stats = Stats()
        self._started = time.monotonic()
        self._failures: list[BaseException] = []

    def until(self, seconds: float | None, writers: int, progress: Callable[[Stats], None] | None) -> Stats:
        # Short, because transactions that still wait in it at the end are never run.
        jobs: _Jobs = queue.Queue(maxsize=writers)
        threads = [threading.Thread(target=self._write, args=(jobs,)) for _ in range(writers)]
        for thread in threads:
            thread.start()
        try:
            self._dispatch(jobs, seconds, progress)
        finally:
            self._ending.set()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]
        if self._application.lost:
            with _connect(self._dsn) as connection:
                self._application.roll_back_lost(connection)
        return self._snapshot()

    def _dispatch(self, jobs: _Jobs, seconds: float | None, progress: Callable[[Stats], None] | None) -> None:
        rng = generator(self._seed)
        numbers = itertools.count(1)
        drawn: deque[tuple[Transaction, int]] = deque()
        due = reported = self._started
        while not self._is_over(seconds):
            now = time.monotonic()
            if progress is not None and now >= reported + 1:
                reported = now
                progress(self._snapshot())
            if drawn:
                try:
                    jobs.put(drawn[0], timeout=0.1)
                    drawn.popleft()
                except queue.Full:
                    continue
            elif now < due:
                self._stop.wait(min(due - now, 0.1))
            else:
                drawn.extend(zip(self._traffic.draw(rng), numbers, strict=False))
                # Never more than a second behind, so that an outage is not followed by a burst.
                due = max(due + rng.expovariate(self._traffic.rate), now - 1)

    def _is_over(self, seconds: float | None) -> bool:
        elapsed = time.monotonic() - self._started
        return self._stop.is_set() or self._ending.is_set() or (seconds is not None and elapsed >= seconds)

    def _write(self, jobs: _Jobs) -> None:
        connection: Connection | None = None
        try:
            while not self._ending.is_set():
                try:
                    transaction, number = jobs.get(timeout=0.1)
                except queue.Empty:
                    continue
                connection = self._commit(connection, transaction, number)
        except Exception as error:  # noqa: BLE001 (raised again by the thread that waits for this one)
            self._failures.append(error)
            self._ending.set()
        finally:
            if connection is not None:
                connection.close()

    def _commit(
        self, connection: Connection | None, transaction: Transaction, number: int
    ) -> Connection | None:
        """Run one transaction; retry after a deadlock, or on a new connection. Return the connection for the next one."""

        def pause() -> None:
            self._ending.wait(rng.uniform(*self._traffic.hold))

        attempts = Retrying(
            retry=retry_if_exception_type(psycopg.OperationalError),
            stop=stop_after_delay(RECONNECT_SECONDS) | stop_when_event_set(self._ending),
            wait=wait_exponential_jitter(multiplier=0.1, max=2),
            sleep=sleep_using_event(self._ending),
            reraise=True,
        )
        try:
            for attempt in attempts:
                with attempt:
                    if connection is None or connection.closed:
                        lost, connection = connection, _connect(self._dsn)
                        if lost is not None:
                            self._application.roll_back_lost(connection)
                            self._count({"reconnects": 1})
                    rng = generator(self._seed, number)
                    self._count(transaction(self._application, connection, rng, pause))
        except psycopg.OperationalError:
            if not self._ending.is_set():
                raise
            self._count({"abandoned": 1})
        return connection

    def _count(self, committed: Committed) -> None:
        with self._lock:
            self._stats = self._stats.plus(committed)

    def _snapshot(self) -> Stats:
        with self._lock:
            return replace(self._stats, seconds=time.monotonic() - self._started)


def _connect(dsn: str) -> Connection:
    return psycopg.connect(dsn, autocommit=True, application_name=APPLICATION_NAME, connect_timeout=10)
