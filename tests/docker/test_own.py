"""A deployment with external databases and broker, which are configured only in `.env`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import yaml

from local.docker import roots
from tests.docker.deployment import ROOT, Deployment, wait

SERVICES = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
# For each external server: its OS user, its port, and the environment or command that creates the login airflow.
SERVERS = {
    "metadata": (
        "postgres",
        5432,
        ("POSTGRES_USER=airflow", "POSTGRES_DB=airflow", "POSTGRES_PASSWORD={METADATA_PASSWORD}"),
        (),
    ),
    "redis": ("redis", 6379, (), ("redis-server", "--requirepass", "{REDIS_PASSWORD}")),
    "clickhouse": (
        "101:101",
        8123,
        ("CLICKHOUSE_USER=airflow", "CLICKHOUSE_PASSWORD={WAREHOUSE_PASSWORD}"),
        (),
    ),
}
PREFIX = "etl-vendas-somebody-elses"


@pytest.fixture
def own(official: Mapping[str, str]) -> Iterator[Deployment]:
    """A project whose .env names three servers outside of it."""
    made = Deployment(
        roots.FOLDER / "own",
        {
            "COMPOSE_PROJECT_NAME": "etl-vendas-own",
            "COMPOSE_PROFILES": "demo",
            "IMAGE_TAG": "own",
            "ETL_VENDAS_SCHEDULE": "* * * * *",
        },
    )
    made.remove()
    stop(made)
    made.run("sh", "deploy/write_env.sh")
    # The address at which a container reaches the ports that this machine publishes.
    machine = made.docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    for name, (user, port, environment, command) in SERVERS.items():
        variable = {"clickhouse": "WAREHOUSE"}.get(name, name.upper())
        run = [
            "run",
            "--detach",
            "--name",
            f"{PREFIX}-{name}",
            "--user",
            user,
            "--publish",
            f"{machine}::{port}",
        ]
        run += [word for pair in environment for word in ("--env", pair.format(**made.secrets))]
        made.docker(*run, SERVICES[name]["image"], *(word.format(**made.secrets) for word in command))
        published = made.docker("port", f"{PREFIX}-{name}", str(port)).rpartition(":")[2]
        made.set(f"{name.upper()}_SERVERS", "0")
        made.set(f"{variable}_HOST", machine)
        made.set(f"{variable}_PORT", published)
    yield made
    made.remove()
    stop(made)
    made.run("docker", "image", "rm", "--force", "etl-vendas:own", check=False)


def stop(deployment: Deployment) -> None:
    """Remove the servers, with their data."""
    for name in SERVERS:
        deployment.run("docker", "rm", "--force", "--volumes", f"{PREFIX}-{name}", check=False)


def test_servers_of_ones_own_need_nothing_but_env(own: Deployment) -> None:
    own.make("up")
    assert not {"metadata", "redis", "clickhouse"} & {service["Service"] for service in own.services()}
    own.unpause("etl_vendas")

    def sales() -> bool:
        query = ("clickhouse-client", "--user", "airflow", "--query", "SELECT count() FROM vendas_dw.venda")
        found = own.run("docker", "exec", f"{PREFIX}-clickhouse", *query, check=False)
        return found.returncode == 0 and int(found.stdout) > 0

    wait(sales, 240, "sales in the other warehouse")
