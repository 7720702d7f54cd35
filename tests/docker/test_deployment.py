"""The deployment in containers, as its user runs it. Each test continues with the state that the previous one has left."""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.docker.deployment import ROOT, Deployment, wait
from tests.promql import expressions

TABLES = ("pais", "cidade", "cliente", "produto", "venda", "item_venda")
# Print a container's process status (user and capabilities), whether its root is writable, and its memory limit.
CONFINEMENT = """
cat /proc/1/status
touch /probe 2>&1
echo "memory $(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null)"
"""
# The command lines of all processes in a container.
COMMAND_LINES = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
# Runs in the image: compares the lock with the installed packages.
LOCKED = """
import json, re
from importlib.metadata import distributions
from pathlib import Path
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
lines = Path("/opt/airflow/requirements.txt").read_text().splitlines()
pins = [Requirement(line.split(" #")[0].rstrip(" \\\\")) for line in lines if re.match("[A-Za-z0-9]", line)]
locked = {canonicalize_name(pin.name): str(pin.specifier) for pin in pins if not pin.marker or pin.marker.evaluate()}
there = {canonicalize_name(found.name): f"=={found.version}" for found in distributions()}
missing, extra = locked.items() - there.items(), there.items() - locked.items()
print(json.dumps({"only locked": sorted(missing), "only there": sorted(extra), "count": len(there)}))
"""


def test_make_up_from_nothing_is_healthy(deployment: Deployment) -> None:
    assert not (deployment.folder / ".env").exists()
    printed = deployment.make("up")
    assert "Wrote .env with new secrets" in printed
    assert (deployment.folder / ".env").stat().st_mode & 0o777 == 0o600
    configured = json.loads(deployment.compose("config", "--format", "json"))["services"]
    assert_healthy(deployment, set(configured))


def test_containers_are_confined(deployment: Deployment) -> None:
    configured = json.loads(deployment.compose("config", "--format", "json"))["services"]
    for container in deployment.containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        host = container["HostConfig"]
        limit = int(configured[service]["mem_limit"])
        assert (host["CapDrop"], host["CapAdd"] or []) == (["ALL"], []), service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert (host["ReadonlyRootfs"], host["Privileged"]) == (True, False), service
        assert (host["LogConfig"]["Type"], host["Memory"]) == ("local", limit), service
        inside = deployment.docker("exec", container["Id"], "sh", "-c", CONFINEMENT)
        status = dict(line.split(":", 1) for line in inside.splitlines() if ":\t" in line)
        assert "0" not in status["Uid"].split(), service
        assert {status[name].strip("\t0") for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {""}, (
            service
        )
        assert status["NoNewPrivs"].strip() == "1", service
        assert "Read-only file system" in inside, service
        assert f"memory {limit}" in inside, service
        # A new volume must belong to the user that writes to it.
        for mount in container["Mounts"]:
            if mount["Type"] == "volume":
                script = f'test -w "{mount["Destination"]}" && stat -c %u "{mount["Destination"]}"'
                owner = deployment.docker("exec", container["Id"], "sh", "-c", script)
                assert owner in status["Uid"].split(), (service, mount["Destination"])


def test_published_ports_are_of_this_machine_alone(deployment: Deployment) -> None:
    bound = {
        binding["HostIp"]
        for container in deployment.containers()
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    }
    assert bound == {"127.0.0.1"}
    assert (
        httpx.get(f"http://127.0.0.1:{deployment.environment['FLOWER_PORT']}/", timeout=30).status_code == 401
    )


def test_the_image_holds_the_locked_packages_and_no_other(deployment: Deployment) -> None:
    run = ("run", "--rm", "--network", "none", "--entrypoint", "python", "etl-vendas:test")
    found = json.loads(deployment.docker(*run, "-c", LOCKED))
    assert (found["only locked"], found["only there"]) == ([], [])
    assert found["count"] > 200


def test_no_secret_is_in_the_image_or_on_a_command_line(deployment: Deployment) -> None:
    secrets = [value.encode() for value in deployment.secrets.values()]
    assert len(secrets) > 20
    history = deployment.docker("history", "--no-trunc", "etl-vendas:test")
    described = deployment.docker("image", "inspect", "etl-vendas:test")
    assert not [secret for secret in secrets if secret in (history + described).encode()]
    for container in deployment.containers():
        configured = {**container["Config"], "Env": None}
        lines = json.dumps(configured) + deployment.docker("exec", container["Id"], "sh", "-c", COMMAND_LINES)
        assert not [secret for secret in secrets if secret in lines.encode()], container["Name"]
    # The text of the user's automation is found: so a secret would be found, too.
    assert found_in_layers(deployment, [*secrets, b"def trabalhar(nome"]) == {b"def trabalhar(nome"}


def test_sales_arrive(deployment: Deployment) -> None:
    deployment.compose("exec", "-T", "simulator", "python", "-m", "local.source", "bulk", "20000")
    deployment.unpause("etl_vendas", "reconciliar_vendas")
    wait(lambda: views_hold_sales(deployment), 240, "the first sale in the warehouse")
    assert_equal(deployment, every_value=True)


def test_the_image_builds_the_marts(deployment: Deployment) -> None:
    deployment.unpause("marts_vendas")
    totals = "SELECT count(*), sum(valor_total) FROM {}"
    deployment.compose("stop", "simulator")
    wait(lambda: sums(deployment.warehouse, "vendas_dw.") == sums(deployment.source, ""), 300, "equality")
    deployment.succeeds("marts_vendas")
    for mart, table in (("fato_venda", "venda"), ("fato_item_venda", "item_venda")):
        built = deployment.warehouse(totals.format(f"vendas_marts.{mart}"))
        assert built == deployment.warehouse(totals.format(f"vendas_dw.{table}"))
        assert int(built.split()[0]) > 20_000
    deployment.compose("start", "simulator")


def test_the_client_in_the_image_calls_an_automation(deployment: Deployment) -> None:
    """As docs/from-rq-and-cron.md shows it."""
    deployment.environment |= {
        "AIRFLOW_USERNAME": "admin",
        "AIRFLOW_PASSWORD": deployment.secrets["ADMIN_PASSWORD"],
    }
    variables = (
        "-e",
        "AIRFLOW_API_URL=http://api-server:8080",
        "-e",
        "AIRFLOW_USERNAME",
        "-e",
        "AIRFLOW_PASSWORD",
    )
    call = ("python", "trigger_script.py", "enqueue", "trabalho.trabalhar", '{"nome": "cliente"}', "--wait")
    deployment.compose("exec", "-T", *variables, "airflow-worker", *call)
    assert at_work(deployment, "cliente")


def test_more_workers_stay(deployment: Deployment) -> None:
    deployment.set("WORKERS", "2")
    deployment.make("up")
    before = {container["Id"] for container in deployment.containers("airflow-worker")}
    assert len(before) == 2
    deployment.make("up")
    assert {container["Id"] for container in deployment.containers("airflow-worker")} == before


def test_messages_of_both_brokers_are_all_stored_once(deployment: Deployment) -> None:
    deployment.unpause("consumir_fila_rabbitmq", "consumir_fila_sqs")
    for broker in ("rabbitmq", "sqs"):
        for tipo in ("produto", "pedido"):
            publish(deployment, broker, tipo, 500, 1_000_001 if broker == "sqs" else 2_000_001)
    wait(lambda: stored(deployment) == 2000, 300, "every message")
    assert deployment.mysql("SELECT count(*), count(DISTINCT mensagem_id) FROM movimentos").split() == [
        "2000",
        "2000",
    ]
    assert deployment.mysql("SELECT count(*) FROM mensagens_falhas") == "0"
    # A message reports an event of a product or an order; it creates none.
    assert deployment.mysql("SELECT (SELECT count(*) FROM produtos) + (SELECT count(*) FROM pedidos)") == "0"


def test_a_worker_killed_at_work_loses_nothing(deployment: Deployment) -> None:
    publish(deployment, "rabbitmq", "usuario", 10_000, 1_000_001)
    wait(lambda: stored(deployment) > 2000, 120, "the first of the messages")
    now = datetime.now(UTC)
    history = {"inicio": (now - timedelta(days=40)).isoformat(), "fim": now.isoformat()}
    sync = deployment.trigger("etl_vendas", history)
    work = {"tarefa": "trabalho.trabalhar", "kwargs": {"nome": "morto", "segundos": 20}}
    run = deployment.trigger("executar_tarefa", work)
    victim = at_work(deployment, "morto")
    # A task that a worker has taken but not begun would wait for a day: docs/scaling.md.
    queued = "/dags/~/dagRuns/~/taskInstances"
    wait(
        lambda: not deployment.api("GET", queued, params={"state": "queued"})["total_entries"], 15, "a moment"
    )
    # Kill the worker's main process, not the init process: as when memory runs out.
    deployment.docker("exec", victim, "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)")
    deployment.succeeded("executar_tarefa", run, 400)
    (task,) = deployment.tasks("executar_tarefa", run)
    assert task["try_number"] == 2
    deployment.succeeded("etl_vendas", sync, 400)
    wait(lambda: stored(deployment) == 12_000, 300, "every message")
    assert deployment.mysql("SELECT count(*), count(DISTINCT mensagem_id) FROM movimentos").split() == [
        "12000",
        "12000",
    ]
    wait(lambda: len(deployment.containers("airflow-worker")) == 2, 60, "the worker, started again")
    assert_equal(deployment)


def test_a_busy_worker_ends_its_task_before_it_stops(deployment: Deployment) -> None:
    run = deployment.trigger(
        "executar_tarefa", {"tarefa": "trabalho.trabalhar", "kwargs": {"nome": "calmo", "segundos": 15}}
    )
    worker = at_work(deployment, "calmo")
    deployment.docker("stop", "--time", "120", worker)
    deployment.succeeded("executar_tarefa", run, 60)
    (task,) = deployment.tasks("executar_tarefa", run)
    assert task["try_number"] == 1
    (stopped,) = json.loads(deployment.docker("inspect", worker))
    assert stopped["State"]["ExitCode"] == 0
    deployment.docker("start", worker)


def test_servers_that_restart_lose_nothing(deployment: Deployment) -> None:
    for server in ("metadata", "redis", "clickhouse", "source"):
        deployment.compose("restart", server)
    assert_healthy(deployment)


def test_make_up_again_changes_nothing(deployment: Deployment) -> None:
    def running() -> set[tuple[str, str, str]]:
        return {
            (found["Id"], found["State"]["StartedAt"], found["Image"]) for found in deployment.containers()
        }

    before = running()
    deployment.make("up")
    assert running() == before


def test_an_older_backup_of_the_warehouse_is_made_right(deployment: Deployment) -> None:
    """The backup is a copy of the volume while the server is stopped: ledger and tables are of the same moment."""
    copy_volume(deployment, "clickhouse", "backup", "clickhouse")
    before = count(deployment)
    wait(lambda: count(deployment) > before + 100, 240, "sales that the backup has not")
    copy_volume(deployment, "clickhouse", "clickhouse", "backup")
    assert count(deployment) < before + 100
    assert_equal(deployment)


def test_an_update_and_a_rollback_lose_nothing(deployment: Deployment) -> None:
    automation = deployment.folder / "include" / "automacoes" / "trabalho.py"
    first = automation.read_text()
    rows = count(deployment)
    for database in ("airflow", "jobs"):
        dump = deployment.compose("exec", "-T", "metadata", "pg_dump", "--username", "airflow", database)
        (deployment.folder / f"{database}.sql").write_text(dump)
    work = {"tarefa": "trabalho.trabalhar", "kwargs": {"nome": "versao"}}
    # One task runs while the worker is replaced, and one waits for the new worker.
    long = deployment.trigger(
        "executar_tarefa", {"tarefa": "trabalho.trabalhar", "kwargs": {"nome": "durante", "segundos": 20}}
    )
    at_work(deployment, "durante")
    for tag, text in (("next", first.replace("versão 1", "versão 2")), ("test", first)):
        automation.write_text(text)
        deployment.environment["IMAGE_TAG"] = tag
        deployment.make("up")
        images = {found["Config"]["Image"] for found in deployment.containers("airflow-worker", "scheduler")}
        assert images == {f"etl-vendas:{tag}"}
        run = deployment.succeeds("executar_tarefa", work)
        (task,) = deployment.tasks("executar_tarefa", run)
        path = f"/dags/executar_tarefa/dagRuns/{run}/taskInstances/{task['task_id']}/xcomEntries/return_value"
        assert ("versão 2" in str(deployment.api("GET", path)["value"])) is (tag == "next")
    deployment.succeeded("executar_tarefa", long, 60)
    assert deployment.tasks("executar_tarefa", long)[0]["try_number"] == 1
    assert count(deployment) >= rows


def test_what_init_cannot_do_is_printed(deployment: Deployment) -> None:
    """After `make down`, so that no other service interferes."""
    deployment.make("down")
    right = deployment.secrets["METADATA_PASSWORD"]
    deployment.set("METADATA_PASSWORD", "another")
    failed = deployment.run("make", "up", check=False)
    deployment.set("METADATA_PASSWORD", right)
    assert failed.returncode != 0
    assert 'password authentication failed for user "airflow"' in failed.stderr
    deployment.make("down")


def test_what_was_stopped_has_its_data_and_goes_on_from_an_older_backup(deployment: Deployment) -> None:
    """The backup is of the metadata, from before the update; the warehouse is newer."""
    assert deployment.services() == []
    deployment.compose("up", "--detach", "--wait", "metadata")
    for database in ("airflow", "jobs"):
        deployment.compose("exec", "-T", "metadata", "dropdb", "--username", "airflow", database)
        deployment.compose("exec", "-T", "metadata", "createdb", "--username", "airflow", database)
        psql = (
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--set",
            "ON_ERROR_STOP=1",
            "--username",
            "airflow",
            database,
        )
        dump = (deployment.folder / f"{database}.sql").read_text()
        deployment.run("docker", "compose", "exec", "-T", "metadata", *psql, stdin=dump)
    # For the next test. Only these two services of the profile: Jaeger and Grafana only display data.
    deployment.set("TELEMETRY", "True")
    watchers = ("otel-collector", "prometheus")
    deployment.compose(
        "--profile", "monitoring", "up", "--build", "--detach", "--wait", "--no-deps", *watchers
    )
    deployment.make("up")
    assert_healthy(deployment)
    assert stored(deployment) == 12_000
    assert_equal(deployment, every_value=True)


def test_prometheus_answers_every_query_of_the_dashboards(deployment: Deployment) -> None:
    publish(deployment, "rabbitmq", "produto", 100, 3_000_001, "--poison", "3")
    failing = {"tarefa": "trabalho.trabalhar", "kwargs": {"nome": "sem/pasta"}}
    assert deployment.finished("executar_tarefa", deployment.trigger("executar_tarefa", failing)) == "failed"
    dashboards = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
    asked = {expression for dashboard in dashboards for expression in expressions(dashboard)}
    assert len(asked) > 30
    url = f"http://127.0.0.1:{deployment.environment['PROMETHEUS_PORT']}/api/v1/query"

    def answered(expression: str) -> bool:
        answer = httpx.get(url, params={"query": expression}, timeout=30)
        assert answer.is_success, f"{expression}: {answer.text}"
        return bool(answer.json()["data"]["result"])

    def missing() -> set[str]:
        asked.difference_update([expression for expression in asked if answered(expression)])
        return asked

    assert (
        httpx.get(url, params={"query": "min(up)"}, timeout=30).json()["data"]["result"][0]["value"][1] == "1"
    )
    # The scheduler counts tasks twice a minute, so a task must wait that long in the queue, and then run that long.
    (queued,) = (expression for expression in asked if "airflow_ti_queued" in expression)
    deployment.compose("pause", "airflow-worker")
    try:
        work = {"tarefa": "trabalho.trabalhar", "kwargs": {"nome": "medido", "segundos": 60}}
        deployment.trigger("executar_tarefa", work)
        wait(lambda: answered(queued), 120, "a task in a queue")
    finally:
        deployment.compose("unpause", "airflow-worker")
    wait(lambda: not missing(), 240, lambda: f"rows for every query: {sorted(asked)}")
    moved = httpx.get(url, params={"query": "sum by (table) (mirror_rows_total)"}, timeout=30).json()
    tables = {row["metric"]["table"] for row in moved["data"]["result"] if float(row["value"][1])}
    assert {"venda", "item_venda"} <= tables


def test_make_down_leaves_nothing_running(deployment: Deployment) -> None:
    deployment.make("down")
    label = "label=com.docker.compose.project=etl-vendas-test"
    assert deployment.docker("ps", "--all", "--quiet", "--filter", label) == ""
    assert deployment.docker("network", "ls", "--quiet", "--filter", label) == ""
    assert len(deployment.docker("volume", "ls", "--quiet", "--filter", label).split()) > 5


def assert_healthy(deployment: Deployment, names: set[str] | None = None) -> None:
    """Every service is healthy, except `init`, which has ended."""
    services = wait(lambda: healthy(deployment), 180, "the health of all services")
    if names:
        assert {service["Service"] for service in services} == names


def healthy(deployment: Deployment) -> list[dict[str, Any]]:
    """Return the services if all of them are healthy, otherwise an empty list."""
    services = deployment.services()
    ill = [
        service
        for service in services
        if (service["ExitCode"] if service["Service"] == "init" else service["Health"] != "healthy")
    ]
    return [] if ill else services


def views_hold_sales(deployment: Deployment) -> bool:
    """Return whether the warehouse has its views, with at least one sale."""
    if (
        deployment.warehouse(
            "SELECT count() FROM system.tables WHERE database = 'vendas_dw' AND name = 'venda'"
        )
        != "1"
    ):
        return False
    return count(deployment) > 0


def count(deployment: Deployment) -> int:
    """Return how many sales the warehouse has."""
    return int(deployment.warehouse("SELECT count() FROM vendas_dw.venda"))


def stored(deployment: Deployment) -> int:
    """Return how many messages are stored."""
    return int(deployment.mysql("SELECT count(*) FROM mensagens"))


def copy_volume(deployment: Deployment, service: str, to: str, source: str) -> None:
    """Copy a volume to another one while the service that uses it is stopped."""
    name = deployment.environment["COMPOSE_PROJECT_NAME"]
    (image,) = {found["Config"]["Image"] for found in deployment.containers(service)}
    deployment.compose("stop", service)
    volumes = ("--volume", f"{name}_{source}:/from:ro", "--volume", f"{name}_{to}:/to")
    run = ("run", "--rm", "--network", "none", "--user", "root", "--entrypoint", "sh", *volumes, image)
    deployment.docker(*run, "-c", "find /to -mindepth 1 -delete && cp -a /from/. /to")
    deployment.compose("start", service)
    wait(lambda: healthy(deployment), 120, "its health")


def publish(deployment: Deployment, broker: str, tipo: str, messages: int, first: int, *more: str) -> None:
    """Put messages into a queue of the store."""
    words = ("--broker", broker, "--tipo", tipo, "--count", str(messages), "--first", str(first), *more)
    # The image does not contain the tool. It is passed through standard input, as in docs/loja.md.
    tool = (ROOT / "local" / "demos" / "publish.py").read_text()
    deployment.compose("exec", "-T", "airflow-worker", "python", "-c", tool, *words)


def at_work(deployment: Deployment, name: str) -> str:
    """Return the container in which the automation with that name runs."""
    script = f"cat /opt/airflow/reports/{name} 2>/dev/null || true"
    lines = wait(
        lambda: deployment.compose("exec", "-T", "airflow-worker", "sh", "-c", script),
        120,
        f"the work {name}",
    )
    return lines.split()[0]


def assert_equal(deployment: Deployment, every_value: bool = False) -> None:
    """Both sides have the same rows, by their own counts and sums; with `every_value`, also by the mirror's comparison."""
    deployment.compose("stop", "simulator")
    # Through scheduled runs only: a run with a range would re-read rows that they have missed.
    wait(lambda: sums(deployment.warehouse, "vendas_dw.") == sums(deployment.source, ""), 300, "equality")
    if every_value:
        deployment.succeeds("reconciliar_vendas", {"somente_relatorio": True})
    deployment.compose("start", "simulator")


def sums(read: Any, schema: str) -> list[str]:
    """Return the count and the sums of keys and money of each table."""
    money = {"venda": "valor_total", "item_venda": "valor_total", "produto": "preco_base"}
    found = []
    for table in TABLES:
        key = "item_id" if table == "item_venda" else f"{table}_id"
        amount = f"round(coalesce(sum({money[table]}), 0) * 100)" if table in money else "0"
        line = read(f"SELECT concat(count(*), ' ', sum({key}), ' ', {amount}) FROM {schema}{table}")
        found.append(f"{table} {line}")
    return found


def found_in_layers(deployment: Deployment, wanted: Iterable[bytes]) -> set[bytes]:
    """Return those of the wanted bytes that are in a layer of the image."""
    save = subprocess.Popen(
        ["/usr/bin/env", "docker", "save", "etl-vendas:test"],
        stdout=subprocess.PIPE,
        env=deployment.environment,
    )
    found: set[bytes] = set()
    with save, tarfile.open(fileobj=save.stdout, mode="r|") as archive:
        for member in archive:
            if file := archive.extractfile(member):
                for piece in pieces(file):
                    found.update(text for text in wanted if text in piece)
    assert save.returncode == 0
    return found


def pieces(file: Any) -> Iterable[bytes]:
    """Yield a layer, decompressed if necessary, in pieces that overlap by more than a secret's length."""
    if file.peek(2)[:2] == b"\x1f\x8b":
        file = gzip.GzipFile(fileobj=file)
    end = b""
    while piece := file.read(1 << 22):
        yield end + piece
        end = piece[-300:]
