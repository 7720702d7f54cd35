"""Collections in a real ClickHouse: whole or not at all, once per run, through deaths between any two statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self

import pytest

from include.conventions import sql
from include.conventions.errors import RequestError
from include.ocorrencias import connections, etl
from include.ocorrencias.archive import FOLDER, TABLES, VIEWS, Archive, opened
from include.ocorrencias.client import HttpTransport
from include.ocorrencias.errors import ContractError
from include.ocorrencias.settings import Settings
from local.servers.clickhouse import ClickHouse
from tests.include.ocorrencias.conftest import POLICY
from tests.ocorrencias_service import OcorrenciasService, event


class Later(datetime):
    """The time 60 days from now."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(days=60)


class KilledError(Exception):
    """Stands for the end of the process: nothing after it is sent to the server."""


class Dying:
    """A client that dies before or after its n-th statement that writes."""

    def __init__(self, client: Any, number: int, after: bool) -> None:
        self.__dict__.update(client=client, left=number, after=after)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        return self._counted(found) if name in ("insert", "command") else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.client, name, value)

    def _counted(self, found: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.__dict__["left"] -= 1
            if self.left == 0 and not self.after:
                raise KilledError
            answer = found(*arguments, **keywords)
            if self.left == 0:
                raise KilledError
            return answer

        return call


@pytest.fixture
def query(clickhouse: ClickHouse) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Ask the database ocorrencias, which is empty at first."""
    client = clickhouse.client()
    for database in ("ocorrencias", "ocorrencias_replay"):
        client.command(f"DROP DATABASE IF EXISTS {database} SYNC")

    def ask(text: str, database: str = "ocorrencias") -> list[tuple[Any, ...]]:
        client.database = database
        return [tuple(row) for row in client.query(text).result_rows]

    yield ask
    client.close()


@pytest.fixture
def collect(
    clickhouse: ClickHouse, service: OcorrenciasService, monkeypatch: pytest.MonkeyPatch, query: Any
) -> Callable[..., dict[str, Any]]:
    """Collect a run as its task does, from the service into the warehouse; the connections are the fixtures'."""
    import requests

    settings: Settings = replace(Settings.load(), policy=POLICY)
    monkeypatch.setattr(
        connections, "service", lambda policy: HttpTransport(requests.Session(), service.url, policy)
    )
    monkeypatch.setattr(connections, "warehouse", clickhouse.client)

    def run(run_id: str, moment: datetime | None = None, **conf: Any) -> dict[str, Any]:
        return etl.collect_run(settings, conf, run_id, moment or datetime.now(UTC))

    return run


def test_a_run_is_collected_once(collect, service, query):
    service.open_events = [event(1), event(2, pop=8)]
    first = collect("a")
    service.open_events = [event(3)]
    assert collect("a") == first
    assert query("SELECT execucao, eventos FROM coletas") == [("a", 2)]
    assert query("SELECT evento_id FROM eventos ORDER BY evento_id") == [(1,), (2,)]


@pytest.mark.parametrize("after", [False, True])
def test_a_death_at_any_statement_leaves_nothing_visible_or_everything(
    collect, service, query, clickhouse, monkeypatch, after
):
    service.open_events = [event(1), event(2, pop=8), event(3, status="")]
    whole = [("Acidente", "ABERTO", 1), ("Enguiço na via", "ABERTO", 1)]
    deaths, committed = 0, 0
    for number in range(1, 40):
        run = f"run{number}"
        monkeypatch.setattr(
            connections, "warehouse", lambda number=number: Dying(clickhouse.client(), number, after)
        )
        try:
            collect(run)
            break
        except KilledError:
            deaths += 1
        monkeypatch.setattr(connections, "warehouse", clickhouse.client)
        if number > len(TABLES) + len(VIEWS) + 1:
            there = _of(query, run)
            assert there in ([], whole)
            committed += there == whole
            assert query(f"SELECT count() FROM eventos WHERE execucao = '{run}'") == [(2 * bool(there),)]
            assert query(f"SELECT count() FROM recusados WHERE execucao = '{run}'") == [(1 * bool(there),)]
        summary = collect(run)
        assert _of(query, run) == whole == [tuple(count) for count in summary["contagens"]]
    # Creating, then four inserts: POPs are learned in the first runs only.
    assert deaths >= len(TABLES) + len(VIEWS) + 1 + 4
    assert committed == (1 if after else 0)


def _of(query: Any, run: str) -> list[tuple[Any, ...]]:
    return query(
        "SELECT tipo_ocorrencia, status_ocorrencia, quantidade_ocorrencia FROM contagens"
        f" WHERE execucao = '{run}' ORDER BY ALL"
    )


@pytest.mark.parametrize("deduplicated", [True, False])
def test_of_two_attempts_at_once_the_first_one_counts_for_both(
    collect, service, query, clickhouse, monkeypatch, deduplicated
):
    service.open_events = [event(1)]
    collect("before")
    if not deduplicated:
        client = clickhouse.client()
        client.command(
            "ALTER TABLE ocorrencias.coleta MODIFY SETTING non_replicated_deduplication_window = 0"
        )
        client.close()
    published = Archive.publish
    second: list[dict[str, Any]] = []

    def publish(self: Archive, registro: Any, coleta: Any) -> Any:
        # The other attempt began later and ends while this one is about to write.
        monkeypatch.setattr(Archive, "publish", published)
        service.open_events = [event(1), event(2)]
        second.append(collect("a", moment))
        return published(self, registro, coleta)

    moment = datetime.now(UTC)
    monkeypatch.setattr(Archive, "publish", publish)
    first = collect("a", moment)
    shown = query("SELECT sum(quantidade_ocorrencia) FROM contagens WHERE execucao = 'a'")
    assert len(query("SELECT coleta FROM coletas WHERE execucao = 'a'")) == 1
    if deduplicated:
        assert first == second[0]
    assert shown == [(sum(count[2] for count in first["contagens"]),)]


def test_an_insert_that_arrived_twice_counts_once(collect, service, query, clickhouse):
    service.open_events = [event(1), event(2, status="")]
    collect("a")
    client = clickhouse.client()
    for table in ("evento", "contagem", "recusado"):
        client.command(f"INSERT INTO ocorrencias.{table} SELECT * FROM ocorrencias.{table}")
    client.close()
    assert _of(query, "a") == [("Acidente", "ABERTO", 1)]
    assert query("SELECT count() FROM eventos") == query("SELECT count() FROM recusados") == [(1,)]
    assert query("SELECT count() FROM eventos_atuais") == [(1,)]


def test_the_current_state_and_the_history(collect, service, query):
    early = datetime.now(UTC) - timedelta(minutes=40)
    service.open_events = [event(1), event(2, bairro="Centro", inicio="2026-11-20 09:59:59.0")]
    collect("a", early)
    service.open_events = []
    service.events = [event(1, status="FECHADO"), event(3)]
    collect("b", early + timedelta(minutes=20))
    assert query("SELECT evento_id, status FROM eventos_atuais ORDER BY evento_id") == [
        (1, "FECHADO"),
        (3, "ABERTO"),
    ]
    assert query(
        "SELECT bairro, formatDateTime(hora, '%F %H:%i', 'America/Sao_Paulo'), ocorrencias, vistas_abertas_por_ultimo"
        " FROM por_bairro_e_hora ORDER BY bairro"
    ) == [("Centro", "2026-11-20 09:00", 1, 1), ("Tijuca", "2026-11-20 08:00", 2, 1)]


def test_who_is_responsible_is_asked_once_a_day_and_known_to_all(collect, service, query):
    service.open_events = [event(1)]
    assert collect("a")["requisicoes"] == 4
    assert collect("b")["requisicoes"] == 2
    assert [row[:3] for row in query("SELECT pop_id, titulo, responsavel FROM pop FINAL")] == [
        (4, "Acidente", True)
    ]


def test_a_run_that_was_collected_can_be_cleared_when_its_day_is_out_of_reach(collect, service, monkeypatch):
    moment = datetime.now(UTC)
    day = f"{moment - timedelta(days=1):%Y-%m-%d}"
    first = collect("a", moment, data=day)
    monkeypatch.setattr(etl, "datetime", Later)
    assert collect("a", moment, data=day) == first
    with pytest.raises(RequestError, match=f"data is {day}"):
        collect("b", Later.now(UTC), data=day)


def test_what_was_learned_of_a_pop_is_kept_though_the_run_fails(collect, service, query):
    service.open_events = [event(1), event(2, pop=8)]
    service.activities[8] = "?"
    with pytest.raises(ContractError, match="who is responsible for POP 8"):
        collect("a")
    assert query("SELECT pop_id FROM pop FINAL") == [(4,)]
    assert query("SELECT count() FROM coletas") == [(0,)]


def test_a_run_of_long_ago_is_not_collected_from_the_present(collect):
    with pytest.raises(RequestError, match="the service knows only the present: trigger a new run"):
        collect("a", datetime.now(UTC) - timedelta(hours=2))


def test_recordings_go_into_a_database_of_their_own(collect, query, service):
    summary = collect("a", datetime.now(UTC) - timedelta(days=400), modo="replay", gravacao="manha")
    assert summary["retentativas"] == 1
    assert service.asked == []
    assert query("SELECT count() FROM eventos_atuais", "ocorrencias_replay") == [(summary["eventos"],)]
    assert query("SELECT name FROM system.databases WHERE name = 'ocorrencias'", "default") == []


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"modo": "http"}, "modo is 'http'; it must be servico or replay"),
        ({"gravacao": "manha"}, "gravacao is for modo replay only"),
        ({"modo": "replay"}, "gravacao is None; there are manha, noite, tarde"),
        ({"modo": "replay", "gravacao": "../../etc/passwd"}, "gravacao is '../../etc/passwd'"),
        ({"aceitar_desatualizados": "sim"}, "aceitar_desatualizados is 'sim'"),
        ({"dia": "2026-01-01"}, "unknown conf key 'dia'"),
    ],
    ids=str,
)
def test_a_conf_that_makes_no_sense_is_refused(collect, conf, said):
    with pytest.raises(RequestError, match=said):
        collect("a", **conf)


def test_every_statement_is_used_and_every_table_and_view_has_one():
    created = {f"create_{name}" for name in TABLES} | {f"create_view_{name}" for name in VIEWS}
    assert {path.stem for path in (sql.ROOT / FOLDER).glob("*.sql")} == created | {
        "read_coleta",
        "read_contagens",
        "read_pops",
    }


def test_a_client_is_closed_whatever_happens(clickhouse, query):
    client = clickhouse.client()
    closed: list[bool] = []
    client.close = lambda: closed.append(True)
    with pytest.raises(KilledError), opened(client, "ocorrencias"):
        raise KilledError
    assert closed == [True]
