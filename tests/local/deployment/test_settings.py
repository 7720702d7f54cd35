"""Ports and secrets of a deployment: generated once, readable only by their owner."""

from __future__ import annotations

import json
import socket
import stat

import pytest

from local.deployment.airflow import environment
from local.deployment.settings import FILE_NAME, LATER, Settings, SettingsError


def test_second_start_finds_the_settings_of_the_first(tmp_path):
    first = Settings.load(tmp_path / "deployment")
    assert Settings.load(tmp_path / "deployment") == first


def test_file_is_readable_by_its_owner_alone(tmp_path):
    Settings.load(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_secrets_are_long_different_and_not_shown(tmp_path):
    settings = Settings.load(tmp_path)
    secrets = [
        value for name, value in vars(settings).items() if name.endswith(("password", "secret", "key"))
    ]
    assert len(set(secrets)) == len(secrets) == 16
    assert len(settings.jwt_secret.encode()) >= 64
    assert not any(secret in repr(settings) for secret in secrets)
    assert set(secrets).isdisjoint(vars(Settings.load(tmp_path / "other")).values())


def test_port_that_somebody_took_is_replaced_and_kept(tmp_path):
    settings = Settings.load(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.redis_port))
        other.listen()
        changed = settings.with_free_ports()
    assert changed.redis_port != settings.redis_port
    assert changed.postgres_port == settings.postgres_port
    assert changed.redis_password == settings.redis_password
    assert Settings.load(tmp_path) == changed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Expecting value"),
        ("[]", "not a JSON object"),
        ('{"postgres_port": 5}', "clickhouse_port is missing or not of type int"),
    ],
)
def test_damaged_file_is_named(tmp_path, content, said):
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(SettingsError, match=said) as raised:
        Settings.load(tmp_path)
    assert str(tmp_path / FILE_NAME) in str(raised.value)


def test_what_an_older_file_lacks_is_drawn_once(tmp_path):
    older = Settings.load(tmp_path)
    kept = json.loads((tmp_path / FILE_NAME).read_text())
    for name in LATER:
        del kept[name]
    (tmp_path / FILE_NAME).write_text(json.dumps(kept))
    newer = Settings.load(tmp_path)
    assert newer.admin_password == older.admin_password
    assert {getattr(newer, name) for name in LATER}.isdisjoint(getattr(older, name) for name in LATER)
    assert Settings.load(tmp_path) == newer


def test_settings_of_the_calling_shell_reach_the_dags_but_not_airflow(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "SequentialExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "{}")
    monkeypatch.setenv("ETL_VENDAS_SCHEDULE", "0 0 * * *")
    monkeypatch.setenv("ETL_VENDAS_GRACE_SECONDS", "3")
    variables = environment(Settings.load(tmp_path), {"ETL_VENDAS_SCHEDULE": "*/5 * * * *"})
    assert variables["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert "AIRFLOW_CONN_OTHER" not in variables
    assert variables["ETL_VENDAS_SCHEDULE"] == "*/5 * * * *"
    assert variables["ETL_VENDAS_GRACE_SECONDS"] == "3"


@pytest.mark.parametrize(
    ("variable", "own"), [("OCORRENCIAS_PASTA", "ocorrencias"), ("AUTOMACOES_REPORTS_PATH", "reports")]
)
def test_a_folder_may_be_chosen_and_is_the_deployments_own_otherwise(tmp_path, monkeypatch, variable, own):
    settings = Settings.load(tmp_path)
    assert environment(settings)[variable] == str(settings.folder / own)
    monkeypatch.setenv(variable, "")
    assert environment(settings)[variable] == str(settings.folder / own)
    monkeypatch.setenv(variable, "/srv/chosen")
    assert environment(settings)[variable] == "/srv/chosen"


def test_connections_lead_to_the_deployment(tmp_path):
    settings = Settings.load(tmp_path)
    variables = environment(settings)
    source = json.loads(variables["AIRFLOW_CONN_POSTGRES_VENDAS"])
    assert (source["port"], source["password"], source["schema"]) == (
        settings.postgres_port,
        settings.reader_password,
        "vendas",
    )
    assert settings.postgres_password not in variables["AIRFLOW_CONN_POSTGRES_VENDAS"]
    assert settings.postgres_password not in variables["AIRFLOW_CONN_REDSHIFT_DW"]
    warehouse = json.loads(variables["AIRFLOW_CONN_CLICKHOUSE_DW"])
    assert (warehouse["conn_type"], warehouse["port"], warehouse["extra"]) == (
        "clickhouse",
        settings.clickhouse_port,
        {"compress": False},
    )
    loja = json.loads(variables["AIRFLOW_CONN_MYSQL_LOJA"])
    assert (loja["port"], loja["password"]) == (settings.mariadb_port, settings.mariadb_password)
    stage = json.loads(variables["AIRFLOW_CONN_S3_STAGE"])
    assert stage["extra"]["endpoint_url"] == f"http://127.0.0.1:{settings.aws_port}"
