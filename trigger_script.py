#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["click", "jsonschema", "PyYAML", "referencing", "requests", "rich", "tenacity"]
# ///
"""List, trigger and watch Airflow DAGs through the REST API v2, with custom conf.

    python trigger_script.py --list
    python trigger_script.py --dag-id etl_vendas --wait
    python trigger_script.py --dag-id etl_vendas --conf '{"inicio": "…", "fim": "…"}'

It also runs the automations of the service at /scheduler, and manages their jobs:

    python trigger_script.py enqueue send_email '{"email": "…", "message": "…"}' --wait
    python trigger_script.py jobs add greet hello_world.send_hello_world --cron '*/5 * * * *'

It is the entry point of the package `trigger/`. `make trigger-single` writes both into one file, which works wherever it is
copied. From Python:

    from trigger_script import AirflowClient

    with AirflowClient("http://localhost:8080", username="maria", password="…") as client:
        run = client.trigger("etl_vendas", {"tabelas": ["venda"]})
        run = client.wait(run.dag_id, run.run_id, timeout=600)

Results are printed to standard output, everything else to standard error. Exit codes: 0 done,
1 a run failed, 2 usage, bad conf or refused before anything was created, 3 not found, 4 authentication or
permission, 5 API unreachable or broken, 6 timeout while waiting, 130 interrupted.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from trigger.cli import start

        start()
    except KeyboardInterrupt:  # during the imports
        sys.exit(130)
    except ModuleNotFoundError as error:  # outside of the environment
        needed = (
            "pip install click jsonschema PyYAML referencing requests rich tenacity, or start it with uv run"
        )
        if str(error.name).startswith("trigger"):
            needed = "copy the one file that make trigger-single writes"
        sys.stderr.write(f"error: {sys.executable} has no package {error.name}: {needed}\n")
        sys.exit(2)

from trigger.cli import main
from trigger.client import AirflowClient
from trigger.conf import check_conf, parse_duration, parse_instant, read_conf, read_payload
from trigger.errors import (
    ApiUnavailable,
    NotAllowed,
    NotFound,
    RequestRefused,
    TriggerError,
    WaitTimeout,
)
from trigger.login import Login, profiles_path, read_profiles
from trigger.model import (
    Backfill,
    BackfillPlan,
    Dag,
    Function,
    ImportFailure,
    Job,
    Module,
    Param,
    Run,
    State,
    Task,
)
from trigger.request import RunRequest, TaskRequest

__all__ = [
    "AirflowClient",
    "ApiUnavailable",
    "Backfill",
    "BackfillPlan",
    "Dag",
    "Function",
    "ImportFailure",
    "Job",
    "Login",
    "Module",
    "NotAllowed",
    "NotFound",
    "Param",
    "RequestRefused",
    "Run",
    "RunRequest",
    "State",
    "Task",
    "TaskRequest",
    "TriggerError",
    "WaitTimeout",
    "check_conf",
    "main",
    "parse_duration",
    "parse_instant",
    "profiles_path",
    "read_conf",
    "read_payload",
    "read_profiles",
]
