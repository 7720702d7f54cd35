"""Recordings: those of the project keep the contract; a file that is none is named."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from include.conventions.errors import ConfigurationError, RequestError
from include.ocorrencias.client import Client
from include.ocorrencias.errors import ContractError, RefusedError
from include.ocorrencias.models import parse_eventos
from include.ocorrencias.replay import load
from include.ocorrencias.service import ABERTAS, DESDE, Service
from include.ocorrencias.settings import RECORDED
from tests.include.ocorrencias.conftest import POLICY


def service(folder: Path, name: str) -> Service:
    return Service(Client(load(folder, name), POLICY))


@pytest.mark.parametrize("name", ["manha", "tarde", "noite"])
def test_the_recordings_keep_the_contract(name):
    one = service(RECORDED, name)
    assert one.abertas().eventos
    events = one.desde(date(2026, 11, 20)).eventos
    titles, problems = one.pops()
    assert problems == []
    assert {event.pop_id for event in events} <= {*titles, 99}
    assert all(one.atividades(pop) for pop in titles)


def test_answers_come_in_their_order_and_the_last_one_stays(tmp_path):
    exchanges = [
        {"path": ABERTAS, "status": 503, "body": {"error": "x"}},
        {"path": ABERTAS, "body": '{"eventos": []}'},
        {"path": DESDE, "params": {"inicio": "2026-11-20 00:00:00.0"}, "body": {"eventos": [1]}},
    ]
    (tmp_path / "a.json").write_text(json.dumps(exchanges))
    client = Client(load(tmp_path, "a"), POLICY)
    assert [client.get(ABERTAS) for _ in range(2)] == [{"eventos": []}] * 2
    assert (client.tries[ABERTAS], client.retries) == (3, 1)
    assert parse_eventos(client.get(DESDE, {"inicio": "2026-11-20 00:00:00.0"}), "x").recusados
    with pytest.raises(RefusedError, match="nothing was recorded for /ocorrencias/"):
        client.get(DESDE, {"inicio": "2026-11-21 00:00:00.0"})


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"path": 1, "body": 2}]', '[{"path": "/"}]', "[", "\ud800"])
def test_a_file_that_is_no_recording_is_named(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ConfigurationError, match=r"a\.json is not a recording: "):
        load(tmp_path, "a")


@pytest.mark.parametrize("name", [None, 5, "", "b", "../a", "a.json", "A", "a" * 99])
def test_a_name_that_there_is_not_is_refused(tmp_path, name):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(RequestError, match="there are a"):
        load(tmp_path, name)
    with pytest.raises(RefusedError):
        service(tmp_path, "a").abertas()


def test_what_was_recorded_wrong_is_a_breach_of_contract(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"path": ABERTAS, "body": [1]}]))
    with pytest.raises(ContractError, match="must be an object"):
        service(tmp_path, "a").abertas()
