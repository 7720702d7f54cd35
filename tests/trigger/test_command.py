"""The command itself: help, version, usage errors, and shell completion."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys

import pytest
from rich.cells import cell_len

from local.servers.server import free_port
from tests.trigger.script import PATIENCE, Script
from trigger import single

USAGE = {
    "nothing": ((), "--list"),
    "unknown": (("--lst",), "--list"),
    "two_actions": (("--list", "--dag-id", "quick"), "--dag-id"),
    "misplaced": (("--list", "--wait"), "--wait"),
    "not_with_backfill": (("--dag-id", "daily", "--backfill", "--logs"), "--logs"),
    "not_with_watch": (("--dag-id", "quick", "--watch", "x", "--conf", "{}"), "--conf"),
    "only_backfill": (("--dag-id", "quick", "--reprocess", "failed"), "--reprocess"),
    "only_list": (("--dag-id", "quick", "--tag", "x"), "--tag"),
    "form": (("--list", "-o", "xml"), "yaml"),
    "interval": (("--dag-id", "quick", "--wait", "--interval", "0"), "0"),
    "twice": (("--dag-id", "quick", "--conf", "{}", "--conf", "{}"), "--conf"),
    "stray": (("--dag-id", "quick", "extra"), "extra"),
}


@pytest.fixture(scope="module")
def usage(alone: Script):
    """The results of invalid calls."""
    return alone.each(**{name: arguments for name, (arguments, _) in USAGE.items()})


@pytest.mark.parametrize("name", USAGE)
@pytest.mark.security("command lines")
def test_a_call_that_makes_no_sense_is_refused_before_anybody_is_asked(usage, name):
    done = usage[name]
    assert done.code == 2
    assert done.out == ""
    [line] = done.err.splitlines()
    assert line.startswith("error: ")
    assert USAGE[name][1] in line


def test_help_and_version(alone: Script):
    done = alone.each(help=("--help",), short=("-h",), version=("--version",))
    assert [(one.code, one.err) for one in done.values()] == [(0, "")] * 3
    assert done["help"].out == done["short"].out
    assert max(map(cell_len, done["help"].out.splitlines())) <= 110
    for said in ("Examples:", "--dag-id etl_vendas", "Exit codes: 0 done", "AIRFLOW_API_URL"):
        assert said in done["help"].out
    assert done["version"].out.startswith("trigger_script.py ")


def test_a_process_ends_with_the_code_of_its_kind_of_end(script: Script, alone: Script):
    wait = ("--wait", "--interval", "0.1", "--timeout", "0.1")
    codes = {
        0: script.start("--list", "--tag", "fast", "-o", "plain"),
        1: script.start("--dag-id", "failing", "--watch", "fails"),
        2: script.start("--lst"),
        3: script.start("--dag-id", "quik"),
        4: script.having(AIRFLOW_PASSWORD="wrong").start("--list"),
        5: alone.start(
            "--list", "--url", f"http://127.0.0.1:{free_port()}", "--token", "x", "--connect-timeout", "0.2"
        ),
        6: script.start("--dag-id", "quick", "--run-id", "slow", *wait),
    }
    done = {code: one.finish() for code, one in codes.items()}
    assert {code: one.code for code, one in done.items()} == {code: code for code in codes}
    assert done[0].out.startswith("quick\t")
    assert all(not one.out for code, one in done.items() if code > 1)


def test_a_pipe_that_is_closed_early_ends_it_quietly(script: Script):
    process = subprocess.Popen(
        script.command("--list", "-o", "json"),
        env=dict(script.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "[\n"
    # Three hundred DAGs are more than a pipe holds.
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(PATIENCE) == 0


def complete(script: Script, *words: str) -> list[str]:
    """Return the completions that a shell gets for the last word of a command line."""
    asking = script.having(
        _TRIGGER_SCRIPT_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(("trigger_script.py", *words)),
        COMP_CWORD=str(len(words)),
    )
    done = asking.process()
    assert (done.code, done.err) == (0, "")
    return [line.split(",", 1)[1] for line in done.out.splitlines() if line]


def test_a_shell_completes_options_and_the_ids_of_dags(script: Script, alone: Script):
    assert "--dry-run" in complete(script, "--d")
    assert complete(script, "--dag-id", "many_00") == [f"many_00{number}" for number in range(10)]
    assert complete(script, "--dag-id", "quick", "--output", "j") == ["json"]
    # Without a login, there are no ids, and no error appears in the command line.
    assert complete(alone, "--dag-id", "qu") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_is_printed_for_a_shell_names_the_command(alone: Script, shell):
    done = alone("--completion", shell)
    assert (done.code, done.err) == (0, "")
    assert "_TRIGGER_SCRIPT_COMPLETE" in done.out
    assert "trigger_script.py" in done.out


def test_bash_takes_what_is_printed_for_it(alone: Script):
    bash = shutil.which("bash")
    assert bash is not None, "the Makefile's shell functions need it as well"
    printed = alone("--completion", "bash").out
    checked = subprocess.run([bash, "-n"], input=printed, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_package_imports_nothing_but_the_libraries_that_the_script_declares():
    text = single.DOOR.read_text()
    imported: set[str] = set()
    for module in (text, *single.modules().values()):
        for node in ast.walk(ast.parse(module)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    libraries = {name.replace("yaml", "pyyaml") for name in imported - sys.stdlib_module_names - {"trigger"}}
    declared = next(line for line in text.splitlines() if line.startswith("# dependencies = "))
    assert {name.lower() for name in json.loads(declared.removeprefix("# dependencies = "))} == libraries
