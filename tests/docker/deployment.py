"""A copy of the project, and its user's commands there: `make`, `docker compose`, queries of the databases, the API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from dotenv import dotenv_values

from local.servers.server import free_port
from local.waiting import until
from tests.rest import Rest

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("UI_PORT", "CLICKHOUSE_PORT", "FLOWER_PORT", "PROMETHEUS_PORT")
FINISHED = ("success", "failed")
Found = TypeVar("Found")


class Deployment:
    """`environment` has the variables of the user's shell. They override .env, as with Compose."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for name in _files():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        ports = {name: str(free_port()) for name in PORTS}
        self.folder = folder
        self.url = f"http://127.0.0.1:{ports['UI_PORT']}"
        # Other variables of Compose in the shell would name another deployment.
        clean = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        self.environment = {**clean, **ports, "UI_URL": self.url, **environment}

    def run(
        self, *command: str, check: bool = True, stdin: str = "", folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder. If it fails, the error shows both of its outputs."""
        done = subprocess.run(
            ["/usr/bin/env", *command],
            cwd=folder or self.folder,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
        return done

    def make(self, target: str) -> str:
        """Run `make`, and return its output."""
        return self.run("make", target).stdout

    def compose(self, *words: str) -> str:
        """Return the output of `docker compose`."""
        return self.run("docker", "compose", *words).stdout.strip()

    def docker(self, *words: str) -> str:
        """Return the output of `docker`."""
        return self.run("docker", *words).stdout.strip()

    def remove(self) -> None:
        """Remove the containers, networks and volumes of this project, also those of a killed session."""
        name = ("--project-name", self.environment["COMPOSE_PROJECT_NAME"])
        # Outside the project's folder, so that Compose finds them by their labels: the Compose file would require .env.
        words = ("docker", "compose", *name, "down", "--volumes", "--timeout", "20")
        self.run(*words, check=False, folder=self.folder.parent)
        self.run(
            "docker", "volume", "rm", "--force", f"{name[1]}_backup", check=False, folder=self.folder.parent
        )

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets that `make up` has generated: each variable without a value in the example."""
        example = dotenv_values(ROOT / ".env.example", interpolate=False)
        written = dotenv_values(self.folder / ".env", interpolate=False)
        return {name: value for name, value in written.items() if value and not example.get(name)}

    def set(self, name: str, value: str) -> None:
        """Change one line of .env."""
        file = self.folder / ".env"
        lines = file.read_text().splitlines()
        assert [line for line in lines if line.startswith(f"{name}=")]
        file.write_text(
            "\n".join(f"{name}={value}" if line.startswith(f"{name}=") else line for line in lines)
        )

    def services(self) -> list[dict[str, Any]]:
        """Return each container of the project as `docker compose ps` shows it."""
        return [json.loads(line) for line in self.compose("ps", "--all", "--format", "json").splitlines()]

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """Return `docker inspect` of the running containers, by default of all services."""
        ids = self.compose("ps", "--quiet", *services).split()
        return list(json.loads(self.docker("inspect", *ids))) if ids else []

    def source(self, sql: str) -> str:
        """Run a query as the sales system's owner; return its output."""
        psql = (
            "psql",
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--username",
            "vendas",
            "--command",
            sql,
        )
        return self.compose("exec", "-T", "source", *psql)

    def warehouse(self, sql: str) -> str:
        """Run a query as the mirror's user; return its output."""
        return self.compose(
            "exec", "-T", "clickhouse", "clickhouse-client", "--user", "airflow", "--query", sql
        )

    def mysql(self, sql: str) -> str:
        """Run a query as the store's user; return its output."""
        script = 'MYSQL_PWD="$MARIADB_PASSWORD" mariadb --host 127.0.0.1 --user loja --skip-column-names loja'
        return self.run(
            "docker", "compose", "exec", "-T", "loja-mariadb", "sh", "-c", script, stdin=sql
        ).stdout.strip()

    @cached_property
    def _admin(self) -> Rest:
        return Rest(self.url, "admin", self.secrets["ADMIN_PASSWORD"])

    def api(self, method: str, path: str, **request: Any) -> Any:
        """Return what the API answers to the admin."""
        answer = self._admin.request(method, path, **request)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def unpause(self, *dags: str) -> None:
        """Unpause DAGs."""
        for dag in dags:
            self.api("PATCH", f"/dags/{dag}", json={"is_paused": False})

    def trigger(self, dag: str, conf: Mapping[str, Any] | None = None) -> str:
        """Create a run, and return its id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self.api("POST", f"/dags/{dag}/dagRuns", json=body)["dag_run_id"])

    def finished(self, dag: str, run: str, seconds: float = 300) -> str:
        """Wait for a run's end, and return its state."""

        def state() -> str:
            found = str(self.api("GET", f"/dags/{dag}/dagRuns/{run}")["state"])
            return found if found in FINISHED else ""

        return wait(state, seconds, f"the end of {run} of {dag}")

    def succeeds(self, dag: str, conf: Mapping[str, Any] | None = None, seconds: float = 300) -> str:
        """Start a run, wait for its success, and return its id."""
        run = self.trigger(dag, conf)
        self.succeeded(dag, run, seconds)
        return run

    def succeeded(self, dag: str, run: str, seconds: float = 300) -> None:
        """Wait for a run's success. If it fails, the error shows the logs of its failed tasks."""
        if self.finished(dag, run, seconds) == "success":
            return
        logs = [
            self.log(dag, run, task)
            for task in self.tasks(dag, run)
            if task["state"] in ("failed", "up_for_retry")
        ]
        raise AssertionError(f"{run} of {dag} failed:\n" + "\n".join(logs))

    def log(self, dag: str, run: str, task: Mapping[str, Any]) -> str:
        """Return the end of the log of a task's last try."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        said = self.api("GET", path, params={"map_index": task["map_index"], "full_content": True})["content"]
        return "\n".join(json.dumps(line)[:2000] for line in said[-8:])

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        return list(self.api("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"])


def wait(what: Callable[[], Found], seconds: float, name: str | Callable[[], object]) -> Found:
    """Return the first answer that is true. Raises TimeoutError after so many seconds, and names what never came."""
    return until(what, seconds, name, pause=1)


def _files() -> Iterable[str]:
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(
        ["/usr/bin/env", *command], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]
