"""`modules`: the list of automations, in each form of output."""

from __future__ import annotations

import json

import pytest

from tests.trigger.faulty import answer
from tests.trigger.script import Script


@pytest.fixture(scope="module")
def listed(automations: Script):
    """The list in each form."""
    return automations.each(
        **{form: ("modules", "-o", form) for form in ("table", "json", "plain")},
        before=("-o", "json", "modules"),
    )


def test_each_function_is_shown_with_its_arguments(listed):
    assert {name: one.code for name, one in listed.items()} == dict.fromkeys(listed, 0)
    [line] = [line for line in listed["table"].out.splitlines() if line.startswith("hello_world.")]
    assert "hello_world.send_hello_world" in line
    assert "(name: str" in line
    assert "Greet somebody" in line
    assert "\nhello_world.send_hello_world\tsend_hello_world(name: str" in f"\n{listed['plain'].out}"


def test_a_program_gets_the_schema_of_the_arguments(listed):
    modules = {module["module"]: module for module in listed["json"].json()}
    [function] = modules["hello_world"]["functions"]
    assert modules["hello_world"]["error"] is None
    assert (function["function"], function["task"]) == ("send_hello_world", "hello_world.send_hello_world")
    assert function["parameters"]["properties"]["name"]["type"] == "string"
    assert listed["before"].out == listed["json"].out


def test_a_file_that_cant_be_read_is_named_beside_the_list(automations, faulty):
    broken = {"module": "quebrado", "doc": "", "error": "line 3: invalid syntax", "functions": []}
    faulty.breaks("GET", "/scheduler/modules$", answer(200, json.dumps([broken])))
    done = automations.having(AIRFLOW_API_URL=faulty.url)("modules", "-o", "json")
    assert (done.code, done.json()) == (0, [broken])
    assert done.err == "warning: module quebrado can't be read: line 3: invalid syntax\n"


def test_who_only_looks_may_see_them(automations, viewer):
    done = automations.having(AIRFLOW_USERNAME=viewer.name, AIRFLOW_PASSWORD=viewer.password)(
        "modules", "-o", "plain"
    )
    assert done.code == 0, done.err
    assert "hello_world.send_hello_world\t" in done.out


def test_a_shell_completes_tasks(automations):
    asking = automations.having(
        _TRIGGER_SCRIPT_COMPLETE="bash_complete",
        COMP_WORDS="trigger_script.py enqueue hello",
        COMP_CWORD="2",
    )
    done = asking.process()
    assert (done.code, done.err) == (0, "")
    assert done.out.split() == ["plain,hello_world.send_hello_world"]
