"""One consumer of one queue: take a batch, store it, and only then acknowledge it.

| step                                            | the process, or the broker, dies right after it                   |
|-------------------------------------------------|-------------------------------------------------------------------|
| 1 receive a batch, which the queue keeps unseen | it is delivered again, at once or after the visibility timeout     |
| 2 count one that comes again                    | as after 1; the count is higher by one                            |
| 3 store messages with their effects, commit     | delivered again; the ids are there, so nothing but 6 happens       |
| 4 count a refused one                           | delivered again; that is the next try                             |
|   send it to wait                               | delivered again, and from where it waits: still one id            |
|   bring it back once it has waited              | the same                                                          |
| 5 send a hopeless one to the dead letters       | delivered again, and sent there again                             |
|   note that it is there                         | delivered again; nothing but 6 happens                            |
| 6 acknowledge                                   | done. If the broker loses it: as after 3                          |

So a message is never lost, its effect is there once, and a dead letter at least once.

A refused message is tried three times in all (`RETRIES`), with a pause that the queue keeps. Poison is never tried. A
message whose delivery nobody finished comes again marked as such, and then goes through 2 to 6 alone; one that has
come so `LOST` times probably ends the processes that take it, and joins the dead letters unseen. A process that lives to
see the broker or the database fail takes its count back. Two consumers that hold the same message: see
`inbox`.

A body that is published anew after it died is handled anew. One that died and was only not acknowledged is not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pymysql

from include.loja.errors import BrokerError
from include.loja.queues.inbox import Inbox
from include.loja.queues.message import Message, Poison, key, parse

log = logging.getLogger(__name__)

RETRIES = 2
LOST = 5


@dataclass(frozen=True)
class Delivery:
    """A body as the queue handed it out.

    `again` when an earlier delivery of it may have come to no end, `seen` when there was an earlier one at all.
    """

    body: bytes
    again: bool
    seen: bool
    handle: Any


class Queue(Protocol):
    """What a consumer needs of a broker. Every method may raise `Away`; then all that was received comes again."""

    def receive(self, most: int) -> Sequence[Delivery]:
        """Return up to so many bodies, the most urgent first; none when there are none for now."""

    def postpone(self, delivery: Delivery) -> None:
        """Let it come again after a pause; it is not acknowledged. Returns once the broker knows."""

    def bury(self, delivery: Delivery, reason: str, tries: int) -> None:
        """Put it among the dead letters. Returns once the broker has it safely."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Let the queue forget these."""

    def reopen(self) -> None:
        """Connect anew, with some patience. Raises Away when that is over."""


class Away(BrokerError):
    """The broker does not answer, or has hung up."""


@dataclass
class Tally:
    """What one consumer did. For the log only: what counts is counted from the database."""

    stored: int = 0
    postponed: int = 0
    buried: int = 0


def consume(
    queue: Queue,
    stored: Inbox,
    batch: int,
    limit: int | None = None,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Take batches until the queue has nothing, `limit` messages are done, or `seconds` are over.

    A broker that goes away is waited for; one that stays away raises Away. What is wrong with the database is raised.
    Either way nothing is lost: what is not acknowledged comes again.
    """
    tally = Tally()
    begun = clock()
    taken = 0
    while (limit is None or taken < limit) and (seconds is None or clock() - begun < seconds):
        try:
            deliveries = queue.receive(batch if limit is None else min(batch, limit - taken))
            if not deliveries:
                break
            _settle(queue, stored, [one for one in deliveries if not one.again], tally)
            for suspect in deliveries:
                if suspect.again:
                    _settle_alone(queue, stored, suspect, tally)
            taken += len(deliveries)
        except Away as error:
            log.warning("the broker is away (%s); connecting anew", error)
            queue.reopen()
    return tally


def _settle_alone(queue: Queue, stored: Inbox, suspect: Delivery, tally: Tally) -> None:
    # Counted just before it is tried, and one by one: those that only travel with it are not suspected for ever.
    name = key(suspect.body)
    known = stored.failures([name]).get(name)
    if known is not None and known.dead:
        queue.acknowledge([suspect])
        return
    lost = stored.count_lost(name)
    if lost < LOST:
        try:
            _settle(queue, stored, [suspect], tally)
        except (Away, pymysql.MySQLError):
            # The process lives: it was the broker or the database that failed, and no fault of the message.
            stored.uncount_lost(name)
            raise
        return
    reason = f"delivered {lost} times more without an end: its processing may end whoever tries"
    _bury(queue, stored, suspect, reason, 0, tally)
    queue.acknowledge([suspect])


def _settle(queue: Queue, stored: Inbox, deliveries: Sequence[Delivery], tally: Tally) -> None:
    """Bring a batch to its end: stored, waiting or buried; then acknowledge what the queue need not keep."""
    failures = stored.failures({key(delivery.body) for delivery in deliveries})
    done: list[Delivery] = []
    messages: list[tuple[Delivery, Message]] = []
    for delivery in deliveries:
        known = failures.get(key(delivery.body))
        # It lies there, and was only not acknowledged. One that was published anew is a case of its own.
        if delivery.seen and known is not None and known.dead:
            done.append(delivery)
            continue
        try:
            messages.append((delivery, parse(delivery.body)))
        except Poison as poison:
            _bury(queue, stored, delivery, str(poison), 0, tally)
            done.append(delivery)
    refused = stored.apply([message for _, message in messages])
    for delivery, message in messages:
        if (reason := refused.get(message.digest)) is None:
            tally.stored += 1
            done.append(delivery)
        elif (tries := stored.count_failure(key(delivery.body), reason)) > RETRIES:
            _bury(queue, stored, delivery, reason, tries, tally)
            done.append(delivery)
        else:
            log.warning("%s is refused, try %d of %d: %s", message.id, tries, RETRIES + 1, reason)
            queue.postpone(delivery)
            tally.postponed += 1
    if done:
        queue.acknowledge(done)


def _bury(queue: Queue, stored: Inbox, delivery: Delivery, reason: str, tries: int, tally: Tally) -> None:
    name = key(delivery.body)
    log.error("%s joins the dead letters of %s: %s", name, stored.queue, reason)
    queue.bury(delivery, reason, tries)
    stored.mark_dead(name, reason)
    tally.buried += 1
