"""ocorrencias_cet_rio on the running deployment: a Celery worker, the service on loopback, the embedded ClickHouse."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.ocorrencias.csv_file import COLUMNS, NAME
from include.ocorrencias.service import ABERTAS, ATIVIDADES, DESDE, POPS
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from tests import rest
from tests.e2e.runs import broker, ended, instances, log, path, until
from tests.ocorrencias_service import Fault, OcorrenciasService, event
from tests.receivers import Mailbox, Webhook

DAG_ID = "ocorrencias_cet_rio"
PATIENCE = 180.0


@pytest.fixture(scope="module")
def api(deployment: Deployment) -> Iterator[AirflowApi]:
    """A client of the deployment's API; the DAG is unpaused."""
    with AirflowApi(deployment.settings) as client:
        client.unpause(DAG_ID, PATIENCE, deployment.supervisor.check)
        yield client
    with rest.admin(deployment.settings) as admin:
        admin.patch(f"/dags/{DAG_ID}", json={"is_paused": True}).raise_for_status()


@pytest.fixture
def service(ocorrencias_service: OcorrenciasService) -> OcorrenciasService:
    """The service, with three open events, one of them not CET-RIO's, and one more that is closed."""
    ocorrencias_service.reset()
    ocorrencias_service.open_events = [event(1), event(2, pop=8), event(3, pop=31)]
    ocorrencias_service.events = [event(1), {"eventos": [event(4, status="FECHADO")]}]
    return ocorrencias_service


def query(deployment: Deployment, text: str, database: str = "ocorrencias") -> list[tuple[Any, ...]]:
    with closing(deployment.clickhouse.client()) as client:
        client.database = database
        return [tuple(row) for row in client.query(text).result_rows]


def counts(deployment: Deployment, run: str, database: str = "ocorrencias") -> list[tuple[str, str, int]]:
    found = query(
        deployment,
        "SELECT execucao, tipo_ocorrencia, status_ocorrencia, quantidade_ocorrencia FROM contagens"
        " ORDER BY tipo_ocorrencia, status_ocorrencia",
        database,
    )
    return [row[1:] for row in found if row[0] == run]


def csv_lines(
    deployment: Deployment, api: AirflowApi, run: str, folder: str = "."
) -> list[tuple[str, str, int]]:
    """Return a run's lines in the CSV file; check that the file is complete."""
    file = Path(deployment.environment["OCORRENCIAS_PASTA"]) / folder / NAME
    text = file.read_text()
    assert text.endswith("\n")
    header, *lines = csv.reader(text.splitlines())
    assert tuple(header) == COLUMNS
    assert all(len(line) == len(COLUMNS) for line in lines)
    moment = query(
        deployment,
        f"SELECT toString(toTimeZone(momento, 'America/Sao_Paulo')) FROM coletas WHERE execucao = '{run}'",
        "ocorrencias_replay" if folder == "replay" else "ocorrencias",
    )[0][0]
    return [(line[1], line[2], int(line[3])) for line in lines if line[0].startswith(moment.rstrip("0"))]


def emitted(deployment: Deployment, run: str) -> list[tuple[str, dict[str, Any]]]:
    """Return asset and extra of each asset event of a run."""
    with rest.admin(deployment.settings) as admin:
        events = admin.get("/assets/events", params={"source_run_id": run}).json()["asset_events"]
    return [(one["name"], one["extra"]) for one in events if one["source_run_id"] == run]


def failed(deployment: Deployment, api: AirflowApi, conf: dict[str, Any]) -> str:
    """Trigger a run that must fail at its first try; return its log."""
    run = api.trigger(DAG_ID, conf)
    assert ended(deployment, api, DAG_ID, run).state == "failed"
    [task] = [one for one in instances(api, DAG_ID, run) if one.task == "coletar"]
    assert (task.state, task.tries) == ("failed", 1)
    return log(api, DAG_ID, run, "coletar", 1)


def test_good_weather_and_a_repeated_run(deployment, api, service):
    run = api.trigger(DAG_ID, {})
    assert ended(deployment, api, DAG_ID, run).state == "success"
    expected = [("Acidente", "ABERTO", 1), ("Acidente", "FECHADO", 1), ("Enguiço na via", "ABERTO", 1)]
    assert counts(deployment, run) == expected
    assert csv_lines(deployment, api, run) == expected
    assert query(
        deployment, "SELECT evento_id, bairro, latitude, longitude FROM eventos_atuais ORDER BY evento_id"
    ) == [(number, "Tijuca", -22.92, -43.24) for number in (1, 2, 4)]

    service.open_events = [event(9)]
    asked = len(service.asked)
    with rest.admin(deployment.settings) as admin:
        admin.post(
            f"/dags/{DAG_ID}/clearTaskInstances",
            json={"dag_run_id": run, "dry_run": False, "only_failed": False, "reset_dag_runs": True},
        ).raise_for_status()
    assert ended(deployment, api, DAG_ID, run).state == "success"
    assert len(service.asked) == asked
    assert counts(deployment, run) == expected
    assert csv_lines(deployment, api, run) == expected


def test_what_heals_is_retried_and_seen_at_a_glance(deployment, api, service):
    service.faults[ABERTAS] = [500, 502, Fault.CLOSE]
    service.faults[DESDE] = [Fault.TRUNCATE, 429, b'{"eventos": [']
    service.open_events.append(event(77, latitude=91))
    run = api.trigger(DAG_ID, {})
    assert ended(deployment, api, DAG_ID, run).state == "success"
    assert len(counts(deployment, run)) == 3
    [(asset, extra)] = emitted(deployment, run)
    assert asset == "ocorrencias_cet_rio"
    assert extra["resumo"] == "3 ocorrências · 6 retries · 1 set aside"
    assert extra["tentativas"][ABERTAS] == 4
    tasks = api.call("GET", f"{path(DAG_ID, run)}/taskInstances")["task_instances"]
    assert [one["rendered_map_index"] for one in tasks if one["task_id"] == "resumir"] == [extra["resumo"]]
    assert query(deployment, f"SELECT lista, evento_id, campo FROM recusados WHERE execucao = '{run}'") == [
        ("ocorrencias_abertas", "77", "latitude")
    ]


def test_4xx_fails_at_once_with_the_servers_words(deployment, api, service):
    service.faults[DESDE] = [400]
    assert f"{DESDE}: it answered 400: falha 400" in failed(deployment, api, {})
    assert service.count(DESDE) == 1
    # The tab At a glance shows why, without the class of Airflow's exception.
    with rest.admin(deployment.settings) as admin:
        shown = admin.get(f"/glance/{DAG_ID}", root="").text
    assert re.search(r'<span class="why">[^<]*it answered 400: falha 400', shown)
    assert "AirflowFailException" not in shown


def test_stale_events_are_refused_unless_the_run_takes_them(deployment, api, service):
    service.stale = "dados de ontem"
    assert "stale events (ocorrencias_abertas: dados de ontem)" in failed(deployment, api, {})
    run = api.trigger(DAG_ID, {"aceitar_desatualizados": True})
    assert ended(deployment, api, DAG_ID, run).state == "success"
    assert query(deployment, f"SELECT atraso FROM coletas WHERE execucao = '{run}'") == [
        ("ocorrencias_abertas: dados de ontem",)
    ]


def test_an_unknown_pop_is_counted_and_alerted_once(
    deployment: Deployment, api: AirflowApi, service: OcorrenciasService, mailbox: Mailbox, webhook: Webhook
):
    with broker(deployment) as turns:
        for turn in turns.scan_iter(f"alertas:{DAG_ID}:*"):
            turns.delete(turn)
    service.open_events = [event(1), event(5, pop=99)]
    for _ in range(2):
        run = api.trigger(DAG_ID, {})
        assert ended(deployment, api, DAG_ID, run).state == "success"
        assert ("POP 99 desconhecido", "ABERTO", 1) in counts(deployment, run)
        assert ("POP 99 desconhecido", "ABERTO", 1) in csv_lines(deployment, api, run)

    def about(texts: list[str]) -> list[str]:
        return [text for text in texts if f"{DAG_ID}.resumir asks for attention" in text.splitlines()[0]]

    until(deployment, lambda: about(mailbox.texts()) and about(webhook.texts()))
    [mail], [post] = about(mailbox.texts()), about(webhook.texts())
    assert "Notice: the service&#x27;s list of POPs lacks 99" in mail
    assert "lacks 99" in post
    # Earlier runs have requested the known POP already.
    assert service.count(POPS) == 2
    assert sum(asked == (ATIVIDADES, {"popId": "4"}) for asked in service.asked) <= 1


def test_the_page_of_the_dag_shows_counts_and_retries(deployment, api, service):
    service.faults[POPS] = [503]
    service.open_events.append(event(6, pop=99))
    run = api.trigger(DAG_ID, {})
    assert ended(deployment, api, DAG_ID, run).state == "success"
    plugins = api.call("GET", "/api/v2/plugins", params={"limit": 100})["plugins"]
    [view] = [
        view for plugin in plugins for view in plugin["external_views"] if view["name"] == "At a glance"
    ]
    assert (view["destination"], view["href"]) == ("dag", "/glance/{DAG_ID}")
    settings = deployment.settings
    address = f"{settings.url}{view['href'].format(DAG_ID=DAG_ID)}"
    # As in a browser: with the UI's cookie.
    cookies = {"_token": rest.token(settings.url, "viewer", settings.viewer_password)}
    shown = httpx.get(address, cookies=cookies)
    assert shown.status_code == 200
    newest = shown.text.split("<tr>")[2]
    assert run in newest
    assert "success" in newest
    assert "<td>4 ocorrências · 1 retry · 1 unknown POP</td>" in newest
    assert "retentativas 1" in newest
    assert httpx.get(address).status_code == 401


def test_a_run_can_be_cancelled_while_the_service_is_slow(deployment, api, service):
    file = Path(deployment.environment["OCORRENCIAS_PASTA"]) / NAME
    before = file.read_bytes() if file.exists() else None
    # This answer would take the run's whole time limit, which is longer than the test waits.
    service.faults[ABERTAS] = [Fault.DRIP]
    run = api.trigger(DAG_ID, {})
    until(deployment, lambda: service.count(ABERTAS))
    with rest.admin(deployment.settings) as admin:
        admin.patch(path(DAG_ID, run).removeprefix("/api/v2"), json={"state": "failed"}).raise_for_status()
    # The process has ended: it no longer reads the answer, and sends no more requests.
    until(deployment, lambda: ABERTAS in service.left)
    assert ended(deployment, api, DAG_ID, run).state == "failed"

    following = api.trigger(DAG_ID, {})
    assert ended(deployment, api, DAG_ID, following).state == "success"
    assert service.count(ABERTAS) == 2
    assert len(counts(deployment, following)) == 3
    assert [asset for asset, _ in emitted(deployment, following)] == ["ocorrencias_cet_rio"]

    states = {one.task: (one.state, one.tries) for one in instances(api, DAG_ID, run)}
    assert states["coletar"] == ("failed", 1)
    assert "success" not in {state for state, _ in states.values()}
    assert query(deployment, f"SELECT count() FROM coletas WHERE execucao = '{run}'") == [(0,)]
    assert emitted(deployment, run) == []
    written = file.read_bytes()
    lines = csv_lines(deployment, api, following)
    assert len(written.splitlines()) == len((before or b"header").splitlines()) + len(lines)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"data": "2020-01-01"}, "data is 2020-01-01; the service answers for the last 29 days"),
        ({"modo": "replay", "gravacao": "ontem"}, "gravacao is 'ontem'; there are manha, noite, tarde"),
        ({"cidade": "Niterói"}, "unknown conf key 'cidade'"),
    ],
    ids=json.dumps,
)
def test_a_conf_that_makes_no_sense_is_refused_by_its_value(deployment, api, service, conf, said):
    assert said in failed(deployment, api, conf)
    assert service.asked == []


def test_a_replay_stands_apart(deployment, api, service):
    with broker(deployment) as turns:
        for turn in turns.scan_iter(f"alertas:{DAG_ID}:*"):
            turns.delete(turn)
        run = api.trigger(DAG_ID, {"modo": "replay", "gravacao": "tarde"})
        assert ended(deployment, api, DAG_ID, run).state == "success"
        # No notice was sent about its unknown POP, so the turn is free for a real one.
        assert list(turns.scan_iter(f"alertas:{DAG_ID}:resumir*")) == []
    assert service.asked == []
    [(asset, extra)] = emitted(deployment, run)
    assert asset == "ocorrencias_cet_rio_replay"
    assert extra["resumo"].startswith("replay of tarde · ")
    replayed = counts(deployment, run, "ocorrencias_replay")
    assert ("POP 99 desconhecido", "ABERTO", 1) in replayed
    assert csv_lines(deployment, api, run, "replay") == replayed
    assert counts(deployment, run) == []
