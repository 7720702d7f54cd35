"""TLS to both databases: a certificate that is not right is refused by name, and a right one carries a whole run.

The servers of the tests have no TLS. A proxy before each adds it; the client's part is what is tested.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from include.airflow_mirror import connections, settings
from include.conventions.errors import ConfigurationError
from include.mirror.errors import (
    SourceError,
    SourceUnavailableError,
    WarehouseError,
    WarehouseUnavailableError,
)
from include.mirror.warehouse.client import Warehouse
from tests.lab import Lab
from tests.tls import Authority, tls_proxy, wrong_certificates

pytestmark = pytest.mark.security

WRONG = ("expired", "another host", "unknown authority")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def certificates(authority: Authority) -> dict[str, tuple[Path, Path]]:
    """A right certificate, and wrong ones."""
    return {"right": authority.issue("right"), **wrong_certificates(authority.folder, authority)}


@pytest.fixture
def describe(
    lab: Lab,
    authority: Authority,
    certificates: dict[str, tuple[Path, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., None]]:
    """Set both connections: each to its server, behind a proxy that has one of the certificates."""
    stack = ExitStack()
    source = conninfo_to_dict(lab.dsn)

    def set_connections(which: str, postgres: dict[str, object], clickhouse: dict[str, object]) -> None:
        ports = (
            stack.enter_context(tls_proxy(int(str(source["port"])), *certificates[which], postgres=True)),
            stack.enter_context(tls_proxy(lab.clickhouse.port, *certificates[which])),
        )
        described: dict[str, dict[str, object]] = {
            "POSTGRES_VENDAS": {
                "conn_type": "postgres",
                "login": source["user"],
                "password": source["password"],
                "schema": source["dbname"],
                "extra": postgres,
            },
            "CLICKHOUSE_DW": {
                "conn_type": "clickhouse",
                "login": lab.clickhouse.user,
                "password": lab.clickhouse.password,
                "extra": {"secure": True, **clickhouse},
            },
        }
        for (name, connection), port in zip(described.items(), ports, strict=True):
            text = json.dumps({"host": "127.0.0.1", "port": port, **connection})
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", text)

    with stack:
        yield set_connections


def checked(authority: Path) -> tuple[dict[str, object], dict[str, object]]:
    """Return the extras of both connections, with which certificates are checked."""
    return (
        {"sslmode": "verify-full", "sslrootcert": str(authority)},
        {"verify": True, "client_kwargs": {"ca_cert": str(authority)}},
    )


def test_a_run_goes_over_tls(lab: Lab, authority: Authority, describe: Callable[..., None]) -> None:
    describe("right", *checked(authority.certificate))
    source = connections.source("postgres_vendas", settings.load("vendas"))
    warehouse = Warehouse(
        lambda: connections._client("clickhouse_dw"), lab.declaration.storage, lab.declaration.views
    )
    moved = lab.run(engine=lab.engine(source=source, warehouse=warehouse))
    assert moved["produto"] == 2
    lab.assert_equal()


@pytest.mark.parametrize("which", WRONG)
@pytest.mark.security("certificates", 2)
def test_a_wrong_certificate_is_refused_by_name_and_not_tried_again(
    lab: Lab, authority: Authority, describe: Callable[..., None], which: str
) -> None:
    describe(which, *checked(authority.certificate))
    source = connections.source("postgres_vendas", settings.load("vendas"))
    with (
        pytest.raises(SourceError, match=r"\(connection postgres_vendas\) refused: .*certificate") as refused,
        source.connect(),
    ):
        pass
    assert not isinstance(refused.value, SourceUnavailableError)
    with pytest.raises(
        WarehouseError, match=r"\(connection clickhouse_dw\) refused: .*certificate"
    ) as denied:
        connections._client("clickhouse_dw")
    assert not isinstance(denied.value, WarehouseUnavailableError)
    for text in (str(refused.value), str(denied.value)):
        assert lab.clickhouse.password not in text
        assert str(conninfo_to_dict(lab.dsn)["password"]) not in text


def test_an_authority_file_that_is_missing_is_named(
    authority: Authority, describe: Callable[..., None]
) -> None:
    missing = authority.folder / "missing.pem"
    describe("right", *checked(missing))
    source = connections.source("postgres_vendas", settings.load("vendas"))
    with pytest.raises(SourceError, match=rf"postgres_vendas.*{missing}") as refused, source.connect():
        pass
    assert not isinstance(refused.value, SourceUnavailableError)
    with pytest.raises(
        ConfigurationError, match=rf"connection clickhouse_dw: ca_cert '{missing}' must be a file"
    ):
        connections._client("clickhouse_dw")
