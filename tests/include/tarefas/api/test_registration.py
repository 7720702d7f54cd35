"""What Airflow gets to load in every process, tasks' own included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]

# As a process of a task does it, with Airflow's own loader.
LOAD = """
import json, sys
from airflow.sdk import plugins_manager
from airflow import plugins_manager as core
library = {name: sys.modules[name] for name in sys.stdlib_module_names if name in sys.modules}
before = set(sys.modules)
plugins, errors = manager._get_plugins()
print(json.dumps({
    "names": [plugin.name for plugin in plugins if str(plugin.source).startswith("$PLUGINS_FOLDER")],
    "errors": errors,
    "replaced": [name for name, module in library.items() if sys.modules[name] is not module],
    "loaded": sorted(set(sys.modules) - before),
}))
"""


@pytest.mark.parametrize("manager", ["plugins_manager", "core"])
def test_loading_changes_no_module_of_python_and_imports_no_automation(manager: str, tmp_path: Path) -> None:
    (tmp_path / "automations").mkdir()
    program = LOAD.replace("manager._get", f"{manager}._get")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["errors"] == {}
    assert sorted(told["names"]) == ["alerts", "automations", "glance", "warehouse"]
    assert told["replaced"] == []
    loaded = set(told["loaded"])
    assert not {
        name for name in loaded if name in sys.stdlib_module_names and name in os.listdir(ROOT / "plugins")
    }
    assert not {name for name in loaded if name.startswith(("include.automacoes", "include.tarefas"))}
    assert not loaded & {"fastapi", "sqlalchemy", "jsonschema", "psycopg", "httpx"}


def test_no_plugin_file_goes_by_the_name_of_another_module() -> None:
    for file in (ROOT / "plugins").rglob("*.py"):
        assert file.name.endswith("_plugin.py")
        assert file.stem not in sys.stdlib_module_names


def test_the_service_and_the_check_of_calls_are_registered() -> None:
    from include.tarefas.api.middleware import CheckCalls, LineBreaks, OnlyStarts
    from plugins.automations_plugin import AutomationsPlugin

    plugin = AutomationsPlugin()
    [service] = plugin.fastapi_apps
    assert service["url_prefix"] == "/scheduler"
    assert [one["middleware"] for one in plugin.fastapi_root_middlewares] == [
        CheckCalls,
        OnlyStarts,
        LineBreaks,
    ]
    assert plugin.fastapi_apps is plugin.fastapi_apps, "one app, however often Airflow asks"
