"""docker-compose.yaml without a Docker engine: it is valid, hardened, and names only what there is."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.conftest import ROOT, Compose

RAW = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES = sorted(RAW["services"])
# They do one thing and end; who waits for them waits for that.
ONE_SHOT = {"init"}
UI = "api-server"
SECRET = re.compile(r"PASSWORD|SECRET|_KEY$")
GENERATED = re.compile(r"^# generate .+\n([A-Z_]+)=$", re.MULTILINE)
# A secret of a server that may be elsewhere, or nowhere.
ELSEWHERE = {"OPENLINEAGE_API_KEY"}


def texts(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in texts(value)]
    if isinstance(node, list):
        return [text for value in node for text in texts(value)]
    return [str(node)]


def names(node: Any) -> set[str]:
    return {name for text in texts(node) for name in re.findall(r"\$\{([A-Z_]+)", text)}


def environment(service: dict[str, Any]) -> dict[str, str]:
    return dict(service.get("environment", {}))


def test_it_follows_the_compose_specification(compose: Compose) -> None:
    schema = json.loads(
        (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text()
    )
    jsonschema.validate(compose.filled, schema)
    broken = {**compose.filled, "services": {**compose.services, "wrong": {"imagine": "x"}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_the_example_holds_exactly_the_variables(compose: Compose) -> None:
    # Compose reads this one itself, to know which profiles there are.
    assert names(compose.raw) | {"COMPOSE_PROFILES"} == set(compose.variables)


def test_every_variable_has_a_form_that_the_embedded_deployment_reads(compose: Compose) -> None:
    left = re.sub(r"\$\$|\$\{[A-Z_]+:(\?[^}]*|-)\}", "", compose.text)
    # The comment that explains the forms in words has none of them.
    assert "$" not in left


def test_only_what_may_be_empty_is_empty(compose: Compose) -> None:
    optional = {name for text in texts(compose.raw) for name in re.findall(r"\$\{([A-Z_]+):-\}", text)}
    assert {name for name, value in compose.variables.items() if not value} == optional


def test_profiles_of_the_example_exist(compose: Compose) -> None:
    profiles = {name for service in compose.services.values() for name in service.get("profiles", [])}
    assert profiles == {"demo", "loja", "monitoring", "flower"}
    assert set(compose.variables["COMPOSE_PROFILES"].split(",")) <= profiles


def test_continuous_integration_starts_every_profile(compose: Compose) -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())["jobs"]
    profiles = {name for service in compose.services.values() for name in service.get("profiles", [])}
    assert set(jobs["docker"]["env"]["COMPOSE_PROFILES"].split(",")) == profiles


@pytest.mark.parametrize("variable", ["OCORRENCIAS_PASTA", "AUTOMACOES_REPORTS_PATH"])
def test_a_folder_of_the_machine_may_be_chosen(compose: Compose, variable: str) -> None:
    inside = compose.raw["x-airflow-environment"][variable]
    assert f"${{{variable}:?}}:{inside}" in compose.raw["services"]["airflow-worker"]["volumes"]
    # Unless somebody chooses, a volume.
    assert compose.variables[variable] in compose.raw["volumes"]


def test_the_number_of_workers_is_a_variable(compose: Compose) -> None:
    assert compose.raw["services"]["airflow-worker"]["scale"] == "${WORKERS:?}"
    assert compose.variables["WORKERS"] == "1"


def test_every_service_has_a_limit_of_memory(compose: Compose) -> None:
    assert [name for name, service in compose.services.items() if not service.get("mem_limit")] == []


def test_images_are_pinned(compose: Compose) -> None:
    built = {
        service["image"]: ROOT / service["build"] / "Dockerfile"
        for service in compose.services.values()
        if "build" in service
    }
    assert len(built) == 2
    images = [
        image
        for file in built.values()
        for image in re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)
    ]
    for service in compose.services.values():
        if service["image"] not in built:
            images.append(service["image"])
        elif "build" not in service:
            # No registry may answer to the name of an image that is built here.
            assert service["pull_policy"] == "never"
    for image in images:
        # A full version, not a tag that moves with each release.
        assert re.search(r":v?\d+\.\d+\.\d+|:\d+\.\d+-bookworm$", image), image


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(compose: Compose, name: str) -> None:
    service = compose.services[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"} & set(
        service
    )
    assert not [volume for volume in service.get("volumes", []) if "docker.sock" in volume]
    assert service.get("user", "") not in ("root", "0", "0:0")


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_and_bounded(compose: Compose, name: str) -> None:
    service = compose.services[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["logging"] == {"driver": "local"}
    if name in ONE_SHOT:
        assert service["healthcheck"] == {"disable": True}
        assert service["restart"].startswith("on-failure")
    else:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert service["restart"] == "unless-stopped"


def test_nothing_but_the_ui_can_be_opened_beyond_loopback(compose: Compose) -> None:
    for name, service in compose.raw["services"].items():
        for port in service.get("ports", []):
            if name != UI:
                assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"
    assert compose.services[UI]["ports"] == ["127.0.0.1:8080:8080"]


def test_published_ports_differ(compose: Compose) -> None:
    ports = [
        port.rsplit(":", 1)[0] for service in compose.services.values() for port in service.get("ports", [])
    ]
    assert len(set(ports)) == len(ports) == 6


@pytest.mark.parametrize("name", SERVICES)
def test_who_waits_waits_for_health_or_for_the_end(compose: Compose, name: str) -> None:
    service = compose.services[name]
    for other, condition in service.get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert condition == {"condition": expected}
        # With a service of a profile that is off, Compose would refuse the whole file.
        profiles = set(compose.services[other].get("profiles", []))
        assert not profiles or set(service.get("profiles", [])) <= profiles


def test_volumes_are_declared_and_used(compose: Compose) -> None:
    mounted = [
        volume.split(":") for service in compose.services.values() for volume in service.get("volumes", [])
    ]
    assert {source for source, *_ in mounted if not source.startswith(".")} == set(compose.raw["volumes"])
    for source, _, *options in mounted:
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert options == ["ro"], source


def test_nothing_of_a_worker_belongs_to_one_replica(compose: Compose) -> None:
    worker = compose.services["airflow-worker"]
    assert not {"container_name", "hostname", "ports", "deploy"} & set(worker)
    assert worker["command"][-1].endswith("@%h")
    assert all("container_name" not in service for service in compose.services.values())


def test_services_reach_each_other_by_names_that_exist(compose: Compose) -> None:
    ports = {"metadata": 5432, "source": 5432, "redis": 6379, "api-server": 8080, "otel-collector": 4318}
    hosts = set()
    for service in compose.services.values():
        for value in environment(service).values():
            for host, port in re.findall(r"(?:@|//)([a-z][a-z-]*):(\d+)(?=/|$)", value):
                if host != "localhost":
                    hosts.add(host)
                    assert ports[host] == int(port)
    assert hosts == set(ports)
    assert compose.variables["SOURCE_HOST"] in compose.services
    assert compose.variables["WAREHOUSE_HOST"] in compose.services


def test_the_stores_connections_lead_to_its_services(compose: Compose) -> None:
    airflow = compose.filled["x-airflow-environment"]
    for name, service, variable in (
        ("MYSQL_LOJA", "loja-mariadb", "MARIADB_PASSWORD"),
        ("RABBITMQ_LOJA", "loja-rabbitmq", "RABBITMQ_DEFAULT_PASS"),
        ("REDSHIFT_DW", "loja-dw", "POSTGRES_PASSWORD"),
    ):
        connection = json.loads(airflow[f"AIRFLOW_CONN_{name}"])
        found = environment(compose.services[service])
        assert connection["host"] == service
        assert connection["password"] == found[variable]
        assert connection["login"] in found.values()
    for name in ("SQS_LOJA", "S3_STAGE"):
        assert json.loads(airflow[f"AIRFLOW_CONN_{name}"])["extra"]["endpoint_url"] == "http://loja-aws:5000"


def test_no_password_stands_in_the_file_or_in_the_example(compose: Compose) -> None:
    example = (ROOT / ".env.example").read_text()
    secrets = {name for name in compose.variables if SECRET.search(name)}
    assert secrets == set(GENERATED.findall(example)) | ELSEWHERE
    for service in compose.raw["services"].values():
        for name, value in environment(service).items():
            if SECRET.search(name) and not name.startswith("GF_USERS"):
                may_be_empty = "-" if name in ELSEWHERE else r"\?"
                assert re.fullmatch(rf"\$\{{[A-Z_]+:{may_be_empty}[^}}]*\}}", value), name
            for password in re.findall(r"://[^/:]*:([^@/]+)@", value):
                assert password.startswith("${"), name


def test_no_secret_stands_on_a_command_line(compose: Compose) -> None:
    secrets = {name for name in compose.variables if SECRET.search(name)}
    for name, service in compose.raw["services"].items():
        spoken = [service.get("command", []), service.get("entrypoint", []), service["healthcheck"]]
        assert not names(spoken) & secrets, name


def test_each_secret_goes_only_where_it_is_used(compose: Compose) -> None:
    users = {
        "ADMIN_PASSWORD": {"init"},
        "OPERATOR_PASSWORD": {"init"},
        "VIEWER_PASSWORD": {"init"},
        "SOURCE_OWNER_PASSWORD": {"source", "simulator"},
        "FLOWER_PASSWORD": {"flower"},
        "GRAFANA_PASSWORD": {"grafana"},
        "MYSQL_LOJA_ROOT_PASSWORD": {"loja-mariadb"},
    }
    for secret, expected in users.items():
        found = {name for name, service in compose.raw["services"].items() if secret in names(service)}
        assert found == expected
    airflow = set(names(compose.raw["x-airflow-environment"]))
    own = {
        "clickhouse": {"WAREHOUSE_PASSWORD"},
        "redis": {"REDIS_PASSWORD"},
        "loja-mariadb": {"MYSQL_LOJA_PASSWORD"},
        "loja-rabbitmq": {"RABBITMQ_LOJA_PASSWORD"},
        "loja-dw": {"REDSHIFT_DW_PASSWORD"},
    }
    others = ("grafana", "prometheus", "jaeger", "otel-collector", "simulator", "loja-aws")
    for name in (*own, *others):
        found = {secret for secret in airflow if SECRET.search(secret)} & names(compose.raw["services"][name])
        assert found == own.get(name, set())
