"""The order in which a worker serves its queues, as Celery's transport for Redis asks for it."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from kombu.utils.scheduling import cycle_by_name

from include.conventions.queues import Queue
from include.conventions.workers import Shares
from local.deployment.compose import airflow_environment, defaults

HIGH, DEFAULT, LOW = (queue.value for queue in Queue)
STRATEGY = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__QUEUE_ORDER_STRATEGY"


def taken(shares: Shares, waiting: dict[str, int], tasks: int) -> list[str]:
    """Take tasks as the transport does: BRPOP on the queues in their order. Changes `waiting`."""
    found = []
    for _ in range(tasks):
        shares.update([HIGH, DEFAULT, LOW])
        queue = next(one for one in shares.consume(3) if waiting.get(one))
        waiting[queue] -= 1
        shares.rotate(queue)
        found.append(queue)
    return found


def test_each_later_queue_gets_its_share_while_all_are_full() -> None:
    found = taken(Shares(10), {HIGH: 1000, DEFAULT: 1000, LOW: 1000}, 1000)
    assert Counter(found) == pytest.approx({HIGH: 800, DEFAULT: 100, LOW: 100}, abs=2)
    # Spread evenly: no task of `low` waits for more than a few turns.
    places = [place for place, queue in enumerate(found) if queue == LOW]
    assert max(later - earlier for earlier, later in itertools.pairwise(places)) <= 11


def test_beyond_its_share_a_queue_waits_for_the_earlier_ones() -> None:
    found = taken(Shares(10), {HIGH: 90, LOW: 1000}, 200)
    assert found[:100].count(LOW) == 10
    assert set(found[100:]) == {LOW}


def test_a_queue_that_was_empty_for_long_has_one_turn_saved_and_no_more() -> None:
    shares = Shares(50)
    taken(shares, {HIGH: 1000}, 1000)
    assert taken(shares, {HIGH: 4, LOW: 4}, 4) == [LOW, HIGH, LOW, HIGH]


def test_without_a_share_the_order_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKER_QUEUE_SHARE", raising=False)
    assert taken(Shares(), {HIGH: 500, DEFAULT: 500, LOW: 10}, 1000) == [HIGH] * 500 + [DEFAULT] * 500


def test_celery_finds_the_order_by_the_name_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_QUEUE_SHARE", "25")
    shared = airflow_environment({key: value or "x" for key, value in defaults().items()})
    assert shared["WORKER_QUEUE_SHARE"] == "25"
    cycle = cycle_by_name(shared[STRATEGY])()
    assert (type(cycle), cycle.share) == (Shares, 25)
