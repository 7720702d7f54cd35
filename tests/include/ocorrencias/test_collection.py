"""One collection: the day, each event once, stale lists, counts; over HTTP, whatever mixture of events there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.conventions.errors import RequestError
from include.ocorrencias.client import Client
from include.ocorrencias.collection import Coleta, Contagem, collect, join, resolve_day
from include.ocorrencias.errors import RefusedError, StaleError
from include.ocorrencias.models import ZONE, Lista, parse_eventos
from include.ocorrencias.service import DESDE, LONGEST_SPAN, Service
from tests.ocorrencias_service import event

NOW = datetime(2026, 11, 21, 3, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 11, 21, 2, 40, tzinfo=UTC), date(2026, 11, 20)),
        (datetime(2026, 11, 21, 3, 0, tzinfo=UTC), date(2026, 11, 20)),
        (datetime(2026, 11, 21, 3, 19, 59, 999999, tzinfo=UTC), date(2026, 11, 20)),
        (datetime(2026, 11, 21, 3, 20, tzinfo=UTC), date(2026, 11, 21)),
    ],
)
def test_the_day_is_that_of_sao_paulo_and_midnight_closes_it(moment, day):
    # Ten past midnight there, whichever run is tried.
    assert resolve_day(None, moment, NOW) == day


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("amanhã", "data is 'amanhã'; write the day like 2026-01-31"),
        ("2026-02-30", "write the day like"),
        (5, "data is 5"),
        ("2026-11-22", "2026-10-23 to 2026-11-21"),
        ("2026-10-22", "for the last 29 days"),
    ],
)
def test_a_day_that_makes_no_sense_is_refused(text, said):
    with pytest.raises(RequestError, match=said):
        resolve_day(text, NOW, NOW)
    assert resolve_day("2026-10-23", NOW, NOW) == date(2026, 10, 23)


def collected(client: Callable[[], Client], accept_stale: bool = False) -> Coleta:
    return collect(
        Service(client()),
        datetime.now(UTC).date(),
        {},
        accept_stale,
        timedelta(days=1),
        NOW,
        lambda pop: None,
    )


events = st.lists(
    st.builds(
        event,
        st.integers(1, 6),
        pop=st.sampled_from([4, 8, 31, 99]),
        status=st.sampled_from(["ABERTO", "FECHADO", "aberto"]),
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(opened=events, today=events, cached=events, bad=st.integers(0, 2))
def test_each_event_counts_once_under_its_pop(service, client, opened, today, cached, bad):
    service.reset()
    service.open_events = opened
    service.events = [*today, {"eventos": cached}, *[event(50, bairro=5)] * bad]
    coleta = collected(client)
    once: dict[int, dict] = {}
    for one in [*opened, *today, *cached]:
        once.setdefault(one["id"], one)
    titles = {4: "Acidente", 8: "Enguiço na via", 99: "POP 99 desconhecido"}
    expected = Counter(
        (titles[one["pop_id"]], one["status"].upper()) for one in once.values() if one["pop_id"] != 31
    )
    assert {(one.tipo, one.status): one.quantidade for one in coleta.contagens} == expected
    assert sum(one.quantidade for one in coleta.contagens) == len(coleta.eventos)
    assert coleta.de_outros == sum(one["pop_id"] == 31 for one in once.values())
    assert coleta.repetidos == len(opened) + len(today) + len(cached) - len(once)
    assert len(coleta.recusados) == bad


def test_the_day_is_asked_for_as_the_contract_says(service, client):
    collected(client)
    assert (DESDE, {"inicio": f"{datetime.now(UTC).date()} 00:00:00.0"}) in service.asked


def test_the_service_answers_for_the_earliest_day_that_a_run_may_ask_for(client):
    now = datetime.now(UTC)
    today = now.astimezone(ZONE).date()
    earliest = resolve_day(f"{today - timedelta(days=LONGEST_SPAN)}", now, now)
    assert Service(client()).desde(earliest).eventos == ()
    with pytest.raises(RefusedError, match="não pode exceder 30 dias"):
        Service(client()).desde(earliest - timedelta(days=1))


def test_stale_events_are_refused_or_marked(service, client):
    service.stale = "cache de ontem"
    with pytest.raises(StaleError, match="ocorrencias_abertas: cache de ontem"):
        collected(client)
    assert collected(client, accept_stale=True).atraso == "ocorrencias_abertas: cache de ontem"


def lista(status: str, atraso: str | None = None) -> Lista:
    body = {"eventos": [event(1, status=status)], "error": atraso}
    return parse_eventos(body, "x")


def test_of_an_event_in_both_lists_the_fresh_one_counts():
    assert join(lista("ABERTO"), lista("FECHADO"))[0][0].status == "ABERTO"
    assert join(lista("ABERTO", "velho"), lista("FECHADO"))[0][0].status == "FECHADO"
    assert join(lista("ABERTO", "velho"), lista("FECHADO", "velho"))[0][0].status == "ABERTO"


def test_two_spellings_of_a_title_are_two_kinds_and_two_pops_of_a_title_one(service, client):
    service.pops = {4: "Acidente", 8: "Acidente"}
    service.open_events = [event(1), event(2, pop=8)]
    assert collected(client).contagens == (Contagem("Acidente", "ABERTO", 2),)
