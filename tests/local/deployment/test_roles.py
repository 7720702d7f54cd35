"""The roles of a deployment's PostgreSQL: each logs in with a password of its own."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from local.deployment import airflow
from local.deployment.settings import FILE_NAME
from local.deployment.stack import Deployment

pytestmark = [pytest.mark.server, pytest.mark.security]


def test_the_reader_does_not_have_the_superuser_s_password(tmp_path: Path) -> None:
    with Deployment(tmp_path) as first:
        first.start_databases()
        _check_reader(first)
        # As an earlier version has left it: one password for both, and none of the reader's in the settings.
        first.postgres.create_role(airflow.READER, first.settings.postgres_password)
    kept = json.loads((tmp_path / FILE_NAME).read_text())
    del kept["reader_password"]
    (tmp_path / FILE_NAME).write_text(json.dumps(kept))
    with Deployment(tmp_path) as second:
        second.start_databases()
        assert second.settings.postgres_password == first.settings.postgres_password
        _check_reader(second)


def _check_reader(deployment: Deployment) -> None:
    settings = deployment.settings
    login = {"host": "127.0.0.1", "port": str(settings.postgres_port), "dbname": settings.source_database}
    with psycopg.connect(**login, user=airflow.READER, password=settings.reader_password) as reader:  # type: ignore[arg-type]
        assert reader.execute("SHOW is_superuser").fetchone() == ("off",)
    for user, password in (
        (airflow.READER, settings.postgres_password),
        ("postgres", settings.reader_password),
        (airflow.METADATA_USER, settings.reader_password),
    ):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**login, user=user, password=password)  # type: ignore[arg-type]
