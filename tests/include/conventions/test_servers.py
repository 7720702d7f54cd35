"""The list of DAGs says which of them have no server in this deployment."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime

import pytest
from airflow.sdk import DAG

from include.conventions import servers
from include.conventions.tags import Tag

VARIABLE = "AIRFLOW_CONN_MYSQL_LOJA"


def tags_of(*tags: Tag) -> set[str]:
    """Return the tags that a DAG with these tags has after the policy."""
    dag = DAG("criacao", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), tags=list(tags))
    servers.mark_lacking(dag)
    return set(dag.tags)


def test_a_dag_without_its_server_has_a_tag_and_no_other_dag_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv(VARIABLE, f"mysql://loja:secret@127.0.0.1:{port}/loja")
        assert tags_of(Tag.LOJA) == {"loja"}
    assert tags_of(Tag.LOJA) == {"loja", "no server"}
    assert tags_of(Tag.VENDAS, Tag.MIRROR) == {"vendas", "mirror"}


@pytest.mark.parametrize("value", [None, "", "{", "mysql://"])
def test_nothing_is_said_without_an_address(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert tags_of(Tag.LOJA) == {"loja"}


def test_a_name_that_nobody_resolves_delays_nothing_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def never(address: object, _timeout: float) -> socket.socket:
        asked.append(address)
        time.sleep(30)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", never)
    monkeypatch.setattr(servers, "SECONDS", 0.01)
    monkeypatch.setenv(VARIABLE, "mysql://loja:secret@loja-mariadb/loja")
    assert tags_of(Tag.LOJA) == {"loja", "no server"}
    assert asked == [("loja-mariadb", 3306)]
