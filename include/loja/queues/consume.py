"""One consumer of one queue: receive a batch, store it, and only then acknowledge it.

| step                                             | when the process or the broker dies right after it                |
|--------------------------------------------------|-------------------------------------------------------------------|
| 1 receive a batch; the broker hides it           | delivered again, at once or after the visibility timeout          |
| 2 count a redelivered message                    | as after 1; the count is higher by one                            |
| 3 store messages with their effects, commit      | delivered again; the ids are stored, so only step 6 is done       |
| 4 count a refused message                        | delivered again; that is the next try                             |
|   send it to the waiting queue                   | delivered from both queues, under one id                          |
|   send it back after its pause                   | the same                                                          |
| 5 send a message that can't be stored to the dead letters | delivered again, and sent there again                    |
|   note in the database that it is there          | delivered again; only step 6 is done                              |
| 6 acknowledge                                    | done. If the broker loses the acknowledgement: as after 3         |

So a message is never lost, its effect is stored exactly once, and a dead letter is there at least once.

A refused message is tried three times in all (`RETRIES` = 2 more), with a pause that the broker keeps. Poison is never
tried. A message whose delivery was not finished comes again, marked as redelivered, and then goes through steps 2 to 6
alone. After `LOST` such deliveries the message probably crashes its consumers: it goes to the dead letters without a try.
If the broker or the database fails and the process survives, the process takes back the count of step 2. `inbox` explains
what happens when two consumers hold the same message.

A dead message that somebody publishes again is a new message. A dead message that was only not acknowledged is not.
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
from include.loja.queues.message import Message, Poison, key, read

log = logging.getLogger(__name__)

RETRIES = 2
LOST = 5
MOST_BYTES = 4 * 1024 * 1024
"""A batch ends after so many bytes: a consumer has these in memory, and one answer of the broker more."""


@dataclass(frozen=True)
class Delivery:
    """A body as the broker delivered it.

    `again`: an earlier delivery of it may have been left unfinished. `seen`: there was an earlier delivery.
    """

    body: bytes
    again: bool
    seen: bool
    handle: Any


class Queue(Protocol):
    """What a consumer needs from a broker.

    Each method may raise `BrokerUnavailableError`. All received messages are then delivered again.
    """

    def receive(self, most: int) -> Sequence[Delivery]:
        """Return up to `most` bodies, the most urgent first, and no more after `MOST_BYTES`; none if the queue is empty."""

    def postpone(self, delivery: Delivery) -> None:
        """Have it delivered again after a pause. Returns once the broker has confirmed."""

    def bury(self, delivery: Delivery, reason: str, tries: int) -> None:
        """Put a copy among the dead letters. Returns once the broker has stored it."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove these from the queue."""

    def reopen(self) -> None:
        """Connect again, with retries. Raises BrokerUnavailableError when their time is over."""


class BrokerUnavailableError(BrokerError):
    """The broker does not answer, or has closed the connection."""


@dataclass
class Tally:
    """What one consumer did. For the log only: a run's numbers are counted from the database."""

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
    """Consume batches until the queue is empty, `limit` messages are done, or `seconds` are over.

    Reconnects to a broker that does not answer, and raises BrokerUnavailableError if that fails. Raises the database's
    errors as they are.
    In both cases no message is lost: what is not acknowledged is delivered again.
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
        except BrokerUnavailableError as error:
            log.warning("the broker does not answer (%s); connecting again", error)
            queue.reopen()
    return tally


def _settle_alone(queue: Queue, stored: Inbox, suspect: Delivery, tally: Tally) -> None:
    # Counted just before its try, each alone: otherwise a crash would count against the rest of its batch, too.
    name = key(suspect.body)
    known = stored.failures([name]).get(name)
    if known is not None and known.dead:
        queue.acknowledge([suspect])
        return
    lost = stored.count_lost(name)
    if lost < LOST:
        try:
            _settle(queue, stored, [suspect], tally)
        except (BrokerUnavailableError, pymysql.MySQLError):
            # The process survived: the broker or the database failed, not the message.
            stored.uncount_lost(name)
            raise
        return
    reason = f"redelivered {lost} times without being finished: it may crash the process that handles it"
    _bury(queue, stored, suspect, reason, 0, tally)
    queue.acknowledge([suspect])


def _settle(queue: Queue, stored: Inbox, deliveries: Sequence[Delivery], tally: Tally) -> None:
    """Store, postpone or bury each message of a batch; then acknowledge all but the postponed ones."""
    received = [(delivery, *read(delivery.body)) for delivery in deliveries]
    failures = stored.failures({name for _, name, _ in received})
    done: list[Delivery] = []
    messages: list[tuple[Delivery, str, Message]] = []
    for delivery, name, content in received:
        known = failures.get(name)
        # It is among the dead letters, and was only not acknowledged. `seen` is false for one that was published again.
        if delivery.seen and known is not None and known.dead:
            done.append(delivery)
            continue
        if isinstance(content, Poison):
            _bury(queue, stored, delivery, str(content), 0, tally)
            done.append(delivery)
        else:
            messages.append((delivery, name, content))
    refused = stored.apply([message for _, _, message in messages])
    for delivery, name, message in messages:
        if (reason := refused.get(message.digest)) is None:
            tally.stored += 1
            done.append(delivery)
        elif (tries := stored.count_failure(name, reason)) > RETRIES:
            _bury(queue, stored, delivery, reason, tries, tally)
            done.append(delivery)
        else:
            log.warning("%s was refused, try %d of %d: %s", message.id, tries, RETRIES + 1, reason)
            queue.postpone(delivery)
            tally.postponed += 1
    if done:
        queue.acknowledge(done)


def _bury(queue: Queue, stored: Inbox, delivery: Delivery, reason: str, tries: int, tally: Tally) -> None:
    name = key(delivery.body)
    log.error("%s goes to the dead letters of %s: %s", name, stored.queue, reason)
    queue.bury(delivery, reason, tries)
    stored.mark_dead(name, reason)
    tally.buried += 1
