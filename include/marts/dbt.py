"""Runs dbt in an environment of its own, and returns the result of each model and test.

What a killed run leaves is described in `dbt/macros/loads.sql`. If the task is killed, dbt is killed with it.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.conventions.errors import ConfigurationError
from include.conventions.settings import ROOT
from include.marts.errors import DbtError, ModelError, TestError

if TYPE_CHECKING:
    from airflow.sdk import Connection

log = logging.getLogger(__name__)

PROJECT = ROOT / "dbt"
PROGRAM = ROOT / ".venv-dbt" / "bin" / "dbt"
"""dbt, in an environment of its own: its pins and Airflow's do not agree."""
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "TMPDIR",
)
"""The variables that dbt inherits. It gets no others: the task's environment holds secrets that are not dbt's."""
SHOWN = 15
"""How many of dbt's last lines an error shows."""
DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


@dataclass(frozen=True)
class Result:
    """One model or test: `kind` is model, test or operation; `status` is dbt's word, `message` its reason or its summary."""

    kind: str
    name: str
    status: str
    seconds: float
    message: str

    @property
    def is_bad(self) -> bool:
        """Whether it failed, or was left out because what it depends on failed."""
        return self.status in ("error", "fail", "runtime error", "skipped")

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.status} in {self.seconds:.1f} s{f', {self.message}' if self.message else ''}"


def environment(connection: Connection) -> dict[str, str]:
    """Return the variables that `dbt/profiles.yml` reads, from the Airflow connection of the warehouse.

    The password is only in the environment of dbt's process: not in its command line, and not in a file.
    """
    extra = connection.extra_dejson
    if extra.get("client_kwargs", {}).get("interface") == "chdb":
        raise ConfigurationError(
            f"connection {connection.conn_id} opens the engine in the task's own process; the marts need a server: name its "
            "host and port instead of client_kwargs"
        )
    secure = bool(extra.get("secure", False))
    return {
        "MARTS_HOST": connection.host or "localhost",
        "MARTS_PORT": str(connection.port or (8443 if secure else 8123)),
        "MARTS_USER": connection.login or "default",
        "DBT_ENV_SECRET_MARTS_PASSWORD": connection.password or "",
        "MARTS_SECURE": str(secure),
        "MARTS_VERIFY": str(bool(extra.get("verify", True))),
    }


def build(
    variables: Mapping[str, str],
    *,
    whole: bool = False,
    started: Callable[[subprocess.Popen[str]], None] = lambda _process: None,
) -> list[Result]:
    """Run `dbt build`. Return a result for each model and test. `variables` are those of `environment`.

    With `whole`, all models are built anew beside the old tables, and then exchanged. `started` gets dbt's process.
    Raises ConfigurationError without dbt, DbtError if it could not begin, ModelError if models failed, and TestError.
    """
    if not os.access(PROGRAM, os.X_OK):
        raise ConfigurationError(
            f"there is no program {PROGRAM}: `make .venv/.installed` installs dbt into an environment of its own"
        )
    with tempfile.TemporaryDirectory(prefix="dbt-") as folder:
        target = Path(folder)
        command = [
            *(str(PROGRAM), "--no-use-colors", "--no-version-check", "--log-level-file", "none"),
            *("build", "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(target), "--log-path", str(target)),
            *(["--full-refresh"] if whole else []),
        ]
        inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
        lines = []
        with subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**inherited, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_die_with_parent(),
        ) as process:
            try:
                started(process)
                for line in process.stdout or ():
                    lines.append(line.rstrip())
                    log.info("%s", lines[-1])
            except BaseException:
                process.kill()
                raise
        return _results(target / "run_results.json", process.returncode, lines)


def summary(results: Sequence[Result]) -> str:
    """Return what a run has done, in one line. A warning is named with its reason."""
    count = Counter(one.kind for one in results)
    warned = [f"{one.name}: {one.message}" for one in results if one.status == "warn"]
    return " · ".join([f"{count['model']} models, {count['test']} tests", *warned])


def _results(file: Path, code: int, lines: Sequence[str]) -> list[Result]:
    if not file.exists() or code not in (0, 1):
        last = " ".join(" ".join(lines[-SHOWN:]).split())
        if code < 0:
            raise ModelError(f"dbt was ended by {signal.Signals(-code).name}; the next try goes on. {last}")
        raise DbtError(f"dbt ended with code {code}: {last or 'it wrote nothing'}")
    results = [_result(one) for one in json.loads(file.read_text())["results"]]
    bad = [one for one in results if one.is_bad]
    models = [one for one in bad if one.kind != "test" and one.status != "skipped"]
    if models:
        raise ModelError("; ".join(map(str, models)))
    if bad:
        raise TestError("; ".join(map(str, bad)))
    if code != 0:
        raise DbtError(f"dbt ended with code {code}: {' '.join(' '.join(lines[-SHOWN:]).split())}")
    return results


def _result(given: Mapping[str, Any]) -> Result:
    kind, _, name = str(given["unique_id"]).partition(".")
    return Result(
        kind,
        name.split(".")[1] if "." in name else name,
        str(given["status"]),
        float(given["execution_time"]),
        " ".join(str(given["message"] or "").split()),
    )


def _die_with_parent() -> Callable[[], None] | None:
    """Return what the child calls before it becomes dbt, so that it ends with a task that is killed; only Linux can."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(DIES_WITH_PARENT, signal.SIGKILL)
