"""The list of DAGs: all its pages, patterns, and the forms of output."""

from __future__ import annotations

import json

import pytest
import yaml
from rich.cells import cell_len

from tests.trigger import recorded
from tests.trigger.script import Script

KINDS = {
    *("quick", "paused", "paused_too", "described", "ranged", "at_gate", "failing", "retrying", "deferred"),
    *("daily", "nightly", "breakable"),
}
MANY = {f"many_{number:03}" for number in range(recorded.MANY)}
KEYS = {
    *("dag_id", "paused", "schedule", "next_run", "last_state", "tags", "owners", "description"),
    *("import_error", "file"),
}


@pytest.fixture(scope="module")
def lists(script: Script):
    """The list with each filter, and in each form."""
    assert script("--dag-id", "quick", "--wait", "--interval", "0.1").code == 0
    done = script.each(
        all=("--list", "-o", "json"),
        text=("--list", "--pattern", "_29", "-o", "json"),
        glob=("--list", "--pattern", "many_?0?", "-o", "json"),
        nothing=("--list", "--tag", "nobody", "-o", "json"),
        table=("--list", "--tag", "kinds"),
        yaml=("--list", "--tag", "kinds", "-o", "yaml"),
        plain=("--list", "--tag", "kinds", "--output", "plain"),
        errors=("--list", "--import-errors"),
        errors_plain=("--list", "--import-errors", "-o", "plain"),
    )
    assert {name: one.err for name, one in done.items() if one.code != 0} == {}
    return done


def ids(done) -> list[str]:
    return [dag["dag_id"] for dag in done.json()]


def test_every_page_is_read_once(lists):
    listed = ids(lists["all"])
    assert len(listed) == len(set(listed))
    assert set(listed) >= KINDS | MANY | {"etl_vendas"}
    assert listed == sorted(listed)
    assert all(set(dag) == KEYS for dag in lists["all"].json())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", {f"many_29{number}" for number in range(10)}),
        ("glob", {f"many_{a}0{b}" for a in range(3) for b in range(10)}),
        ("nothing", set()),
    ],
)
def test_a_filter_keeps_what_it_names(lists, name, expected):
    assert set(ids(lists[name])) == expected


def test_nothing_found_is_said_beside_the_result(lists):
    assert lists["nothing"].out.strip() == "[]"
    assert "no DAG" in lists["nothing"].err


def test_a_table_has_aligned_columns_and_is_not_cut_in_a_pipe(lists):
    header, *rows = lists["table"].out.splitlines()
    assert [row.split()[0] for row in rows] == sorted(KINDS)
    column = header.index("state")
    assert {row[column:].split()[0] for row in rows} <= {"active", "paused"}
    assert all(row[column - 1] == " " for row in rows)
    assert "\x1b" not in lists["table"].out


def test_forms_agree(lists):
    dags = yaml.safe_load(lists["yaml"].out)
    assert dags == [dag for dag in lists["all"].json() if "kinds" in dag["tags"]]
    rows = [line.split("\t") for line in lists["plain"].out.splitlines()]
    assert rows == [
        [
            dag["dag_id"],
            "paused" if dag["paused"] else "active",
            dag["last_state"] or "-",
            dag["next_run"] or "-",
        ]
        for dag in dags
    ]


def test_files_that_cannot_be_imported(lists):
    assert "broken.py" in lists["errors"].out
    assert "ModuleNotFoundError: No module named 'nowhere'" in lists["errors"].out
    assert lists["errors_plain"].out.splitlines() == [
        "broken.py\tModuleNotFoundError: No module named 'nowhere'"
    ]


def test_results_only_on_standard_output(lists):
    assert {name: one.err for name, one in lists.items() if one.err and name != "nothing"} == {}


@pytest.mark.parametrize("columns", [60, 200])
def test_the_table_fits_the_terminal(script, columns):
    with script.terminal("--list", "--tag", "kinds", columns=columns) as terminal:
        assert terminal.finish() == 0
    widths = [cell_len(line.rstrip()) for line in terminal.lines]
    assert len(widths) > len(KINDS)
    assert max(widths) <= columns
    header, *_ = terminal.lines
    assert "DAG" in header
    assert ("tags" in header) is (columns == 200)
    assert all(dag_id in terminal.text for dag_id in KINDS)


def test_a_run_in_every_form(script):
    asked = (
        "--dag-id",
        "quick",
        "--run-id",
        "formed",
        "--wait",
        "--interval",
        "0.1",
        "--set",
        'a={"b": "ã: x"}',
        "--allow-undeclared",
    )
    assert script(*asked).code == 0
    done = script.each(
        json=(*asked, "-o", "json"),
        yaml=(*asked, "-o", "yaml"),
        plain=(*asked, "-o", "plain"),
        plan=("--dag-id", "quick", "--dry-run", "-o", "yaml"),
    )
    run = json.loads(done["json"].out)
    assert yaml.safe_load(done["yaml"].out) == run
    assert run["conf"] == {"a": {"b": "ã: x"}}
    assert done["plain"].out == f"formed\tsuccess\t{run['url']}\n"
    assert yaml.safe_load(done["plan"].out)["method"] == "POST"
