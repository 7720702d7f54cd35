"""The client against the service on loopback: what heals is tried again, and nothing else; time and size are bounded."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.conventions.errors import ConfigurationError
from include.ocorrencias.client import Answer, Client
from include.ocorrencias.errors import ContractError, ExhaustedError, RefusedError
from include.ocorrencias.service import ABERTAS, DESDE, Service
from include.ocorrencias.settings import Policy
from local.servers.server import free_port
from tests.include.ocorrencias.conftest import POLICY
from tests.ocorrencias_service import Fault, event

HEALING = [
    500,
    502,
    503,
    429,
    599,
    Fault.CLOSE,
    Fault.TRUNCATE,
    Fault.CHUNKS,
    b"",
    b"<html>",
    b'{"eventos": [',
]
NOT_JSON = st.binary(max_size=20).filter(lambda body: not _is_json(body))


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(st.sampled_from(HEALING) | NOT_JSON, max_size=6))
def test_whatever_may_heal_is_tried_again_as_often_as_allowed(service, client, faults):
    service.reset()
    service.open_events = [event(1, titulo="Ação à toa 🚧 " * 50)]
    service.faults[ABERTAS] = list(faults)
    one = client()
    if len(faults) < POLICY.attempts:
        assert one.get(ABERTAS)["eventos"] == service.open_events
        assert (one.tries[ABERTAS], one.retries) == (len(faults) + 1, len(faults))
    else:
        with pytest.raises(ExhaustedError, match="failed in all of 4 tries"):
            one.get(ABERTAS)
        assert service.count(ABERTAS) == POLICY.attempts


def test_a_silent_service_is_tried_again(service, client):
    service.faults[ABERTAS] = [Fault.SILENCE]
    one = client(replace(POLICY, silence=0.5))
    assert one.get(ABERTAS) == {"eventos": []}
    assert one.retries == 1


def test_nobody_there_is_tried_again(client):
    one = client(url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ExhaustedError, match="Connection refused"):
        one.get(ABERTAS)
    assert one.tries[ABERTAS] == POLICY.attempts


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 422])
def test_4xx_fails_at_once_with_the_words_of_the_server(service, client, status):
    service.faults[ABERTAS] = [status]
    with pytest.raises(RefusedError, match=f"it answered {status}: falha {status}"):
        client().get(ABERTAS)
    assert service.count(ABERTAS) == 1


@pytest.mark.parametrize(
    ("inicio", "words"),
    [
        (None, "inicio é obrigatório"),
        ("amanhã", "inicio deve ser"),
        ("2026-02-30", "inicio deve ser"),
        ("2020-01-01 00:00:00.0", "não pode exceder 30 dias"),
    ],
)
def test_the_contracts_own_refusals_are_passed_on(client, inicio, words):
    with pytest.raises(RefusedError, match=words):
        client().get(DESDE, {} if inicio is None else {"inicio": inicio})


def test_a_redirect_is_not_followed(service, client):
    service.faults[ABERTAS] = [302]
    with pytest.raises(ContractError, match="it answered 302"):
        client().get(ABERTAS)


def test_a_body_without_end_is_left(service, client):
    service.faults[ABERTAS] = [Fault.HUGE]
    began = time.monotonic()
    with pytest.raises(ContractError, match="larger than 1 MB"):
        client().get(ABERTAS)
    assert time.monotonic() - began < 5


def test_a_byte_at_a_time_does_not_outlast_the_limit(service, client):
    service.faults[ABERTAS] = [Fault.DRIP] * 9
    began = time.monotonic()
    with pytest.raises(ExhaustedError, match=r"limits: 4 tries, 1 s"):
        client(replace(POLICY, limit=1)).get(ABERTAS)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("url", ["http://:99999", "ftp://127.0.0.1", "http://a..b", "127.0.0.1"])
def test_a_wrong_address_is_a_setting_not_a_failure_that_heals(client, url):
    one = client(url=url)
    with pytest.raises(ConfigurationError, match="is not an address"):
        one.get(ABERTAS)
    assert one.retries == 0


def test_words_that_are_no_text_are_shown_as_what_they_are(service, client):
    service.faults[ABERTAS] = [(400, b'{"error": "meia \\ud83d", "n": %s}' % (b"9" * 5000))]
    with pytest.raises(RefusedError, match=r"it answered 400: meia \\ud83d$") as caught:
        client().get(ABERTAS)
    str(caught.value).encode()


def test_a_number_of_5000_digits_sets_its_event_aside_and_no_other(service, client):
    whole, odd = json.dumps(event(1)), json.dumps(event(2)).replace('"id": 2', f'"id": {"9" * 5000}')
    below = odd.replace('"id": 9', '"id": -9')
    service.faults[ABERTAS] = [f'{{"eventos": [{whole}, {odd}, {below}]}}'.encode()]
    found = Service(client()).abertas()
    assert [one.id for one in found.eventos] == [1]
    assert [one.campo for one in found.recusados] == ["id", "id"]


class Clock:
    """A clock that only pauses move, and a transport that answers with a status each."""

    def __init__(self, *statuses: int, retry_after: float | None = None, takes: float = 0.0) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.statuses = list(statuses)
        self.retry_after = retry_after
        self.takes = takes

    def get(self, path: str, params: Mapping[str, str], seconds: float) -> Answer:
        self.now += self.takes
        return Answer(self.statuses.pop(0), b"{}", self.retry_after)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_twenty_tries_two_seconds_apart_with_jitter():
    policy = Policy()
    clock = Clock(*[503] * 50)
    one = Client(clock, policy, lambda: clock.now, clock.sleep)
    with pytest.raises(ExhaustedError, match="failed in all of 20 tries"):
        one.get(ABERTAS)
    assert len(clock.pauses) == 19
    assert all(2 <= pause <= 3 for pause in clock.pauses)
    assert len(set(clock.pauses)) > 10


def test_all_requests_share_one_limit_of_time():
    policy = Policy(limit=30)
    clock = Clock(503, 200, *[503] * 50, takes=5)
    one = Client(clock, policy, lambda: clock.now, clock.sleep)
    one.get(ABERTAS)
    with pytest.raises(ExhaustedError, match="30 s for the run"):
        one.get(DESDE)
    assert clock.now <= 30 + 5
    with pytest.raises(ExhaustedError):
        Client(clock, replace(policy, limit=0), lambda: clock.now, clock.sleep).get(DESDE)


def test_a_server_that_says_when_is_believed_within_the_limit():
    clock = Clock(429, 200, retry_after=17)
    one = Client(clock, Policy(), lambda: clock.now, clock.sleep)
    one.get(ABERTAS)
    assert clock.pauses == [17]
    clock = Clock(429, 200, retry_after=9999)
    with pytest.raises(ExhaustedError):
        Client(clock, Policy(), lambda: clock.now, clock.sleep).get(ABERTAS)
    assert clock.pauses == []
