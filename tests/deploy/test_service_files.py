"""The configuration of the services: what can run here runs here, the rest is read and leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
import yaml

from include.ocorrencias import archive
from include.vendas.tables import VENDAS
from local.servers.postgres import BINARIES, Postgres
from local.servers.server import Server, free_port
from tests.deploy.conftest import ROOT, Compose

PASSWORD = "0123456789abcdef"


class RedisOfTheComposeFile(Server):
    """The command of the service, with another folder and port, and on loopback."""

    name = "redis"

    def __init__(self, command: list[str], data: Path, log: Path) -> None:
        super().__init__(free_port(), log)
        text = command[2].replace("dir /data", f"dir {data}\nport {self.port}\nbind 127.0.0.1")
        assert str(data) in text
        self.shell = ["/bin/sh", *command[1:2], text]

    def command(self) -> list[str]:
        return self.shell

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        return {**os.environ, "PATH": path, "REDIS_PASSWORD": PASSWORD}

    def ready(self) -> bool:
        try:
            with redis.Redis(port=self.port, password=PASSWORD) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def test_redis_takes_its_password_from_the_environment_alone(compose: Compose, tmp_path: Path) -> None:
    service = compose.services["redis"]
    with RedisOfTheComposeFile(service["command"], tmp_path, tmp_path / "log") as server:
        assert PASSWORD not in " ".join(psutil.Process(server.pid).cmdline())
        assert "redis-server" in psutil.Process(server.pid).name()
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis(port=server.port, password=PASSWORD, decode_responses=True) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        check = service["healthcheck"]["test"][1].replace("redis-cli", f"redis-cli -p {server.port}")
        for password, code in ((PASSWORD, 0), ("wrong", 1)):
            environment = {**server.environment(), "REDIS_PASSWORD": password}
            asked = subprocess.run(
                ["/bin/sh", "-c", check], env=environment, check=False, capture_output=True
            )
            assert asked.returncode == code


def test_the_source_starts_with_its_schema_and_a_reader_that_has_its_password(
    compose: Compose, postgres: Postgres
) -> None:
    postgres.create_database("compose")
    scripts = sorted(
        (target, ROOT / source)
        for source, target in re.findall(
            r"(\./\S+):(/docker-entrypoint-initdb\.d/\S+):ro",
            "\n".join(compose.services["source"]["volumes"]),
        )
    )
    assert len(scripts) == 4
    for _, script in scripts:
        # As the image's entry point runs them.
        subprocess.run(
            [BINARIES / "psql", "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-f", script],
            env={
                "PGHOST": "127.0.0.1",
                "PGPORT": str(postgres.port),
                "PGUSER": "postgres",
                "PGPASSWORD": postgres.password,
                "PGDATABASE": "compose",
                "READER_PASSWORD": PASSWORD,
            },
            check=True,
            capture_output=True,
        )
    login = {"host": "127.0.0.1", "port": postgres.port, "dbname": "compose", "user": "mirror_reader"}
    try:
        with psycopg.connect(**login, password=PASSWORD) as reader:  # type: ignore[arg-type]
            assert reader.execute("SELECT count(*) FROM venda").fetchone() == (0,)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                reader.execute("INSERT INTO pais (pais) VALUES ('Brasil')")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**login, password="wrong")  # type: ignore[arg-type]
    finally:
        # The role belongs to the server, which other tests share: they may have granted it something in their databases.
        with psycopg.connect(postgres.dsn("compose"), autocommit=True) as owner:
            owner.execute("DROP OWNED BY mirror_reader")
            with suppress(psycopg.errors.DependentObjectsStillExist):
                owner.execute("DROP ROLE mirror_reader")


def test_servers_get_the_parameters_that_tests_rely_on(compose: Compose) -> None:
    from local.servers.postgres import SETTINGS

    command = compose.services["source"]["command"]
    parameters = dict(word.split("=") for word in command if "=" in word)
    assert parameters == {name: SETTINGS[name] for name in parameters}
    assert {"max_connections", "max_prepared_transactions", "timezone"} == set(parameters)


def test_the_warehouse_has_one_user_whose_password_comes_from_the_environment(compose: Compose) -> None:
    users = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "users.xml").getroot().find("users")  # noqa: S314
    assert users is not None
    assert {user.tag for user in users} == {"default", compose.variables["WAREHOUSE_USER"]}
    default, airflow = users.find("default"), users.find(compose.variables["WAREHOUSE_USER"])
    assert default is not None
    assert default.attrib == {"remove": "remove"}
    assert airflow is not None
    password = airflow.find("password")
    assert password is not None
    assert not password.text
    assert password.attrib["from_env"] in compose.services["clickhouse"]["environment"]
    ElementTree.parse(ROOT / "deploy" / "clickhouse" / "server.xml")  # noqa: S314


def test_the_warehouse_s_user_may_use_the_databases_of_the_dags_and_no_others() -> None:
    users = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "users.xml")  # noqa: S314
    grants = [query.text or "" for query in users.iterfind("users/airflow/grants/query")]
    found = [re.fullmatch(r"GRANT ([A-Z ,]+) ON (\w+)\.(\w+|\*)", grant) for grant in grants]
    assert all(found), grants
    rights: dict[str, set[str]] = {}
    for grant in filter(None, found):
        rights.setdefault(grant[2], set()).update(grant[1].split(", "))
    assert rights.pop("system") == {"SELECT"}
    assert "system.*" not in " ".join(grants)
    profile = yaml.safe_load((ROOT / "dbt" / "profiles.yml").read_text())["vendas_marts"]
    marts = profile["outputs"]["warehouse"]["schema"]
    assert rights.keys() == {VENDAS.storage, VENDAS.views, marts, archive.DATABASE, archive.REPLAYED}
    # A whole database is for people to drop.
    for given in rights.values():
        assert given == rights[VENDAS.storage]
        assert not given & {"ALL", "DROP", "DROP DATABASE", "CREATE"}
    printed = (ROOT / "docs" / "own-servers.md").read_text()
    assert all(f"{grant} TO airflow;" in printed for grant in grants if ".vendas" in grant)


def test_metrics_and_traces_lead_to_services_that_listen(compose: Compose) -> None:
    collector = yaml.safe_load((ROOT / "deploy/otel-collector/config.yaml").read_text())
    used = collector["service"]["extensions"]
    assert set(used) == set(collector["extensions"])
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(collector[kind])
    endpoint = compose.filled["x-airflow-environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    receiver = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert endpoint == f"http://otel-collector:{receiver.rsplit(':', 1)[1]}"
    assert collector["exporters"]["otlp_grpc/jaeger"]["endpoint"].split(":")[0] in compose.services
    health = collector["extensions"]["health_check"]["endpoint"].rsplit(":", 1)[1]
    assert f":{health}/" in compose.services["otel-collector"]["healthcheck"]["test"][-1]

    exported = collector["exporters"]["prometheus"]["endpoint"].rsplit(":", 1)[1]
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    targets = [
        target
        for job in prometheus["scrape_configs"]
        for config in job["static_configs"]
        for target in config["targets"]
    ]
    assert f"otel-collector:{exported}" in targets


def test_grafana_finds_its_sources_and_its_dashboards(compose: Compose) -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    sources = yaml.safe_load((provisioning / "datasources/datasources.yaml").read_text())["datasources"]
    assert {source["uid"] for source in sources} == {"prometheus", "jaeger"}
    for source in sources:
        host = re.findall(r"^http://([a-z-]+):\d+$", source["url"])[0]
        assert compose.services[host]["profiles"] == compose.services["grafana"]["profiles"]
    providers = yaml.safe_load((provisioning / "dashboards/dashboards.yaml").read_text())["providers"]
    mounted = {volume.split(":")[1] for volume in compose.services["grafana"]["volumes"]}
    assert {provider["options"]["path"] for provider in providers} <= mounted
    uids = {source["uid"] for source in sources}
    dashboards = sorted((ROOT / "deploy/grafana/dashboards").iterdir())
    assert dashboards
    for dashboard in dashboards:
        used = re.findall(r'"datasource":\s*\{[^}]*"uid":\s*"([^"]+)"', dashboard.read_text())
        assert used
        assert set(used) <= uids
