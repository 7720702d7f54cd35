"""All DAGs on one page: `python -m include.dag_docs` prints docs/dags.md, with `config/` on PYTHONPATH for the policy."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

HEAD = """\
# DAGs

Every DAG of the project, with the defaults of [all settings](settings.md). Params are the keys of a run's conf: give them in
the UI with **Trigger**, or with `trigger_script.py --conf`.

(`make dags` writes this page from the DAGs; a test compares it.)
"""


def page(dags: Mapping[str, Any]) -> str:
    """Return docs/dags.md. `dags` are the DAGs by id, as Airflow's DagBag has loaded them."""
    return "\n".join([HEAD, _index(dags), *(_chapter(dags[dag_id]) for dag_id in sorted(dags))])


def load() -> dict[str, Any]:
    """Return all DAGs of the project. Raises RuntimeError with the errors of files that can't be imported."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(ROOT / "dags"), safe_mode=False)
    if bag.import_errors:
        raise RuntimeError("; ".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
    return dict(bag.dags)


def _index(dags: Mapping[str, Any]) -> str:
    rows = [
        f"| [{dag_id}](#{dag_id}) | {_schedule(dag)} | {_file(dag)} |" for dag_id, dag in sorted(dags.items())
    ]
    return "\n".join(["| DAG | schedule | file |", "|---|---|---|", *rows, ""])


def _chapter(dag: Any) -> str:
    facts = [
        ("schedule", _schedule(dag)),
        ("runs at once", str(dag.max_active_runs)),
        ("tags", ", ".join(sorted(dag.tags))),
        ("emits", _assets(asset for task in dag.tasks for asset in task.outlets)),
        ("reads", _assets(asset for task in dag.tasks for asset in task.inlets)),
    ]
    tasks = [
        f"| `{task.task_id}` | {task.queue} | {task.pool} | {task.retries} | {_minutes(task.execution_timeout)} |"
        for task in dag.topological_sort()
    ]
    parts = [
        f"## {dag.dag_id}\n",
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts if value), ""]),
        "\n".join(["| task | queue | pool | retries | time limit |", "|---|---|---|---|---|", *tasks, ""]),
        "\n".join(["| Param | type | default | meaning |", "|---|---|---|---|", *_params(dag), ""]),
        _documentation(dag.doc_md),
    ]
    return "\n".join(parts)


def _schedule(dag: Any) -> str:
    timetable = dag.timetable
    expression = getattr(timetable, "expression", None)
    if expression is None:
        written = _assets(_leaves(getattr(timetable, "asset_condition", None)))
        return f"when {written} is written" if written else "none: it runs when it is triggered"
    zone = getattr(timetable, "timezone", "UTC")
    interval = ", by data interval" if "Interval" in type(timetable).__name__ else ""
    return f"`{expression}` {getattr(zone, 'key', None) or getattr(zone, 'name', None) or zone}{interval}"


def _leaves(condition: Any) -> Iterable[Any]:
    """Return the assets in a condition such as `a & (b | c)`."""
    parts = getattr(condition, "objects", None)
    return [condition] if parts is None else [leaf for part in parts for leaf in _leaves(part)]


def _assets(found: Iterable[Any]) -> str:
    names = sorted({asset.name for asset in found if hasattr(asset, "uri")})
    return ", ".join(f"`{name}`" for name in names)


def _params(dag: Any) -> list[str]:
    rows = []
    for name in dag.params:
        param = dag.params.get_param(name)
        schema = param.schema
        meaning = param.description or schema.get("description_md", "").strip().partition("\n")[0]
        cells = (f"`{name}`", _type(schema), _value(param.value), meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return rows


def _type(schema: Mapping[str, Any]) -> str:
    """Return the type of a Param's schema in words."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    types = schema.get("type", "any")
    named = [one for one in ([types] if isinstance(types, str) else types) if one != "null"]
    words = {"string": "text", "array": "list", "boolean": "true or false", "integer": "whole number"}
    said = " or ".join(words.get(one, one) for one in named)
    if schema.get("format") == "date-time":
        return "date and time with a zone"
    if items := schema.get("items", {}).get("enum"):
        return f"list of {', '.join(f'`{one}`' for one in items)}"
    bounds = [
        f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema
    ]
    return " ".join([said, *bounds])


def _value(value: Any) -> str:
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _minutes(limit: Any) -> str:
    return "none" if limit is None else f"{limit.total_seconds() / 60:g} min"


def _documentation(text: str | None) -> str:
    """Return a DAG's documentation without its heading, and with the other headings below the DAG's."""
    lines = [line for line in (text or "").strip().splitlines() if not line.startswith("# ")]
    return re.sub(r"^(#+) ", r"#\1 ", "\n".join(lines).strip(), flags=re.MULTILINE) + "\n"


def _file(dag: Any) -> str:
    path = Path(dag.fileloc).resolve().relative_to(ROOT)
    return f"[{path}](../{path})"


def main() -> None:
    """Print the page."""
    # Airflow logs to standard output, which is the page here.
    with redirect_stdout(sys.stderr):
        text = page(load())
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
