"""Where the other versions of the servers come from, and how one is chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.servers import postgres
from local.servers.server import ServerError
from tests import versions
from tests.versions import VARIABLE, VERSIONS
from tests.versions.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = json.loads((versions.HERE / "package-lock.json").read_text())["packages"]


def test_the_tests_of_each_version_exist() -> None:
    assert [
        path for version in VERSIONS.values() for path in version.tests if not (ROOT / path).is_dir()
    ] == []


def test_each_version_of_postgresql_is_a_locked_package_with_a_hash_and_no_address() -> None:
    names = [name for name in VERSIONS if name.startswith("postgres-")]
    assert len(names) == 4
    for name in names:
        package = PACKAGES[f"node_modules/{name}"]
        assert package["version"].split(".")[0] == name.removeprefix("postgres-")
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_a_version_is_of_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert versions.chosen("postgres") is None
    assert versions.postgres_binaries() == postgres.BINARIES
    monkeypatch.setenv(VARIABLE, "rabbitmq-4.0")
    assert versions.chosen("rabbitmq") is VERSIONS["rabbitmq-4.0"]
    assert versions.postgres_binaries() == postgres.BINARIES


def test_an_unknown_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "postgres-13")
    with pytest.raises(
        ServerError, match=r"SERVER_VERSION=postgres-13 is not known: .* one of postgres-14, "
    ):
        versions.chosen("postgres")
    with pytest.raises(SystemExit, match=r"postgres-13: not known, it must be one of postgres-14, "):
        main(["postgres-13"])
