"""Whose a POP is, how long that is known, and what happens when the service does not say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from include.ocorrencias.client import Answer, Client, HttpTransport
from include.ocorrencias.errors import ContractError, ExhaustedError
from include.ocorrencias.models import Atividade
from include.ocorrencias.responsibility import KnownPop, Responsibility, is_cet_rio
from include.ocorrencias.responsibility import find as find_and_learn
from include.ocorrencias.service import ATIVIDADES, POPS, Service
from tests.include.ocorrencias.conftest import POLICY
from tests.ocorrencias_service import CET_RIO

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def known(pop: int, hours: float, ours: bool = True) -> dict[int, KnownPop]:
    return {pop: KnownPop(pop, "Antigo", ours, (), NOW - timedelta(hours=hours))}


def find(
    pops: Iterable[int], known: Mapping[int, KnownPop], service: Service, now: datetime, age: timedelta
) -> Responsibility:
    return find_and_learn(pops, known, service, now, age, lambda pop: None)


@pytest.mark.parametrize(
    "sigla", ["CET-RIO", "CET RIO", "cet-rio", " CETRIO ", "Cet - Rio", "CET", "GM/CET-RIO"]
)
def test_every_spelling_of_its_short_name(sigla):
    assert is_cet_rio(Atividade(sigla=sigla))


@pytest.mark.parametrize(
    "orgao",
    [
        "Companhia de Engenharia de Tráfego do Rio de Janeiro",
        "COMPANHIA DE ENGENHARIA DE TRAFEGO",
        "CET-RIO - Companhia de Engenharia de Tra\u0301fego",
    ],
)
def test_every_spelling_of_its_full_name(orgao):
    assert is_cet_rio(Atividade(sigla="", orgao=orgao))


@pytest.mark.parametrize(
    ("sigla", "orgao"),
    [
        ("COMLURB", "Companhia Municipal de Limpeza Urbana"),
        ("", ""),
        ("SECETRIO", ""),
        ("CETESB", ""),
        ("RIO", ""),
    ],
)
def test_others_are_others(sigla, orgao):
    assert not is_cet_rio(Atividade(sigla=sigla, orgao=orgao))


def test_what_is_known_for_less_than_a_day_is_not_asked_again(service, client):
    learned: list[KnownPop] = []
    found = find_and_learn([4], known(4, 23), Service(client()), NOW, DAY, learned.append)
    assert (found.pops[4].titulo, learned, service.asked) == ("Antigo", [], [])
    found = find_and_learn([4], known(4, 25, ours=False), Service(client()), NOW, DAY, learned.append)
    assert found.pops[4] == KnownPop(4, "Acidente", True, ("CET-RIO", "COMLURB"), NOW)
    assert learned == [found.pops[4]]


def test_only_pops_of_events_are_asked_about(service, client):
    find([4, 31, 4], {}, Service(client()), NOW, DAY)
    assert [query for path, query in service.asked if path == ATIVIDADES] == [{"popId": "4"}, {"popId": "31"}]


@pytest.mark.parametrize("path", [POPS, ATIVIDADES])
def test_a_service_that_is_away_leaves_what_was_known(service, client, path):
    service.faults[path] = [503] * 99
    found = find([4], known(4, 100), Service(client()), NOW, DAY)
    assert found.pops[4].titulo == "Antigo"
    assert "POP 4: using the stored answer of" in found.warnings[0]
    with pytest.raises(ExhaustedError, match="it is not known who is responsible for POP 4"):
        find([4], known(4, 24 * 8), Service(client()), NOW, DAY)
    with pytest.raises(ExhaustedError):
        find([4, 8], known(4, 30), Service(client()), NOW, DAY)


def test_an_answer_that_breaks_the_contract_is_named(service, client):
    service.activities[4] = [{"sigla": 5}]
    with pytest.raises(
        ContractError, match=r"responsible for POP 4: activities of POP 4: sigla: .*, and is 5"
    ):
        find([4], {}, Service(client()), NOW, DAY)


@pytest.mark.parametrize(("activities", "ours"), [([], True), ([CET_RIO], True), ([{"sigla": "GM"}], False)])
def test_an_unknown_pop_is_kept_unless_others_are_responsible(service, client, activities, ours):
    service.activities[99] = activities
    learned: list[KnownPop] = []
    found = find_and_learn([99], {}, Service(client()), NOW, DAY, learned.append)
    assert (found.unknown, learned) == ((99,), [])
    assert (found.pops[99].titulo, found.pops[99].responsavel) == ("POP 99 desconhecido", ours)


@pytest.mark.parametrize("status", [404, 500])
def test_an_unknown_pop_that_is_refused_is_kept(service, client, status):
    service.faults[ATIVIDADES] = [status] * POLICY.attempts
    found = find([99], {}, Service(client()), NOW, DAY)
    assert (found.unknown, found.pops[99].titulo) == ((99,), "POP 99 desconhecido")
    assert found.pops[99].responsavel
    # What the service once said of it stands.
    service.faults[ATIVIDADES] = [status] * POLICY.attempts
    assert not find([99], known(99, 30, ours=False), Service(client()), NOW, DAY).pops[99].responsavel


def test_unknown_pops_are_asked_about_last_and_never_fail_a_run(service, client):
    service.pops[100] = "Listado"
    found = find([3, 4, 100], known(4, 30), Service(client()), NOW, DAY)
    asked = [query["popId"] for path, query in service.asked if path == ATIVIDADES]
    assert asked == ["100", "4", "3"]
    assert found.unknown == (3,)
    # Nor does it when one that is in the list can't be asked about, and was known.
    service.faults[ATIVIDADES] = [503] * 99
    found = find([3, 4], known(4, 30), Service(client()), NOW, DAY)
    assert {pop: one.titulo for pop, one in found.pops.items()} == {3: "POP 3 desconhecido", 4: "Antigo"}


class Slow:
    """The way to the service, each answer taking 100 s by a clock of its own."""

    def __init__(self, url: str) -> None:
        self.now = 0.0
        self._transport = HttpTransport(requests.Session(), url, POLICY)

    def get(self, path: str, params: Mapping[str, str], seconds: float) -> Answer:
        self.now += 100
        return self._transport.get(path, params, 20)


def test_a_slow_service_is_asked_about_all_pops_in_the_end(service):
    service.pops = {number: f"POP {number}" for number in range(1, 6)}
    cache: dict[int, KnownPop] = {}

    def attempt() -> Responsibility:
        slow = Slow(service.url)
        asked = Service(Client(slow, replace(POLICY, limit=300), lambda: slow.now, lambda seconds: None))
        return find_and_learn(
            service.pops, dict(cache), asked, NOW, DAY, lambda pop: cache.update({pop.id: pop})
        )

    for known_then in ({1, 2}, {1, 2, 3, 4}):
        with pytest.raises(ExhaustedError, match="it is not known who is responsible for POP"):
            attempt()
        assert set(cache) == known_then
    assert set(attempt().pops) == {1, 2, 3, 4, 5}
