"""Whose a POP is, how long that is known, and what happens when the service does not say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.incidents.errors import ContractError, ExhaustedError
from include.incidents.models import Atividade
from include.incidents.responsibility import KnownPop, find, is_cet_rio
from include.incidents.service import ATIVIDADES, POPS, Service
from tests.incidents_service import CET_RIO

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def known(pop: int, hours: float, ours: bool = True) -> dict[int, KnownPop]:
    return {pop: KnownPop(pop, "Antigo", ours, (), NOW - timedelta(hours=hours))}


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
    found = find([4], known(4, 23), Service(client()), NOW, DAY)
    assert (found.pops[4].titulo, found.learned, service.asked) == ("Antigo", (), [])
    found = find([4], known(4, 25, ours=False), Service(client()), NOW, DAY)
    assert found.pops[4] == KnownPop(4, "Acidente", True, ("CET-RIO", "COMLURB"), NOW)
    assert found.learned == (found.pops[4],)


def test_only_pops_of_events_are_asked_about(service, client):
    find([4, 31, 4], {}, Service(client()), NOW, DAY)
    assert [query for path, query in service.asked if path == ATIVIDADES] == [{"popId": "4"}, {"popId": "31"}]


@pytest.mark.parametrize("path", [POPS, ATIVIDADES])
def test_a_service_that_is_away_leaves_what_was_known(service, client, path):
    service.faults[path] = [503] * 99
    found = find([4], known(4, 100), Service(client()), NOW, DAY)
    assert found.pops[4].titulo == "Antigo"
    assert "POP 4: using what was known" in found.warnings[0]
    with pytest.raises(ExhaustedError, match="who is responsible for POP 4 is not known"):
        find([4], known(4, 24 * 8), Service(client()), NOW, DAY)
    with pytest.raises(ExhaustedError):
        find([4, 8], known(4, 30), Service(client()), NOW, DAY)


def test_an_answer_that_breaks_the_contract_is_named(service, client):
    service.activities[4] = [{"sigla": 5}]
    with pytest.raises(ContractError, match=r"POP 4 is not known: activities of POP 4: sigla: .*, and is 5"):
        find([4], {}, Service(client()), NOW, DAY)


@pytest.mark.parametrize(("activities", "ours"), [([], True), ([CET_RIO], True), ([{"sigla": "GM"}], False)])
def test_an_unknown_pop_is_kept_unless_others_are_responsible(service, client, activities, ours):
    service.activities[99] = activities
    found = find([99], {}, Service(client()), NOW, DAY)
    assert (found.unknown, found.learned) == ((99,), ())
    assert (found.pops[99].titulo, found.pops[99].responsavel) == ("POP 99 desconhecido", ours)


def test_an_unknown_pop_that_is_refused_is_kept(service, client):
    service.faults[ATIVIDADES] = [404]
    assert find([99], {}, Service(client()), NOW, DAY).pops[99].responsavel
