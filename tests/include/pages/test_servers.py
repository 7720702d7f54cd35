"""A DAG whose server does not run says so."""

from __future__ import annotations

import socket

import pytest

from include.conventions.tags import Tag
from include.pages import servers
from include.pages.glance import page
from include.pages.warehouse.look import Cache


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_cache", Cache(0))


def test_a_server_that_answers_is_not_mentioned_and_one_that_does_not_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("AIRFLOW_CONN_MYSQL_LOJA", f"mysql://loja:s3cr3t@127.0.0.1:{port}/loja")
        assert servers.lacking([Tag.LOJA]) is None
    found = servers.lacking([Tag.LOJA])
    assert found is not None
    assert found.startswith(f"The server of connection mysql_loja does not answer at 127.0.0.1:{port}: ")
    assert "make local-loja" in found
    assert "s3cr3t" not in found
    assert servers.lacking([Tag.VENDAS, Tag.MIRROR]) is None
    assert '<p class="why" role="alert">The server &lt;' in page([], "The server <")


def test_neither_is_one_that_is_not_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_MYSQL_LOJA", raising=False)
    monkeypatch.setattr("airflow.sdk.BaseHook.get_connection", refuse)
    found = servers.lacking([Tag.LOJA])
    assert found is not None
    assert found.startswith("connection mysql_loja is not defined")


def refuse(name: str) -> None:
    from airflow.sdk.exceptions import AirflowNotFoundException

    raise AirflowNotFoundException(name)
