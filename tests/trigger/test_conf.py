"""The ways to give a conf, the confs that are refused before a run exists, and the places in the messages."""

from __future__ import annotations

import json

import pytest

from tests.trigger.script import Script

CONF = {"dia": "2026-01-01", "tabelas": ["venda"]}
TEXT = json.dumps(CONF)


@pytest.fixture(scope="module")
def confs(script: Script) -> dict[str, dict[str, object]]:
    """The conf that each way would send."""
    folder = script.path.parent
    (folder / "conf.json").write_text(TEXT)
    planned = ("--dag-id", "described", "--dry-run", "--output", "json")
    done = script.each(
        string=(*planned, "--conf", TEXT),
        # As a shell splits an object without quotes, in the middle and at the end.
        tokens=("--dag-id", "described", "--conf", *TEXT.split(), "--dry-run", "--output", "json"),
        tokens_last=(*planned, "--conf", *TEXT.split()),
        equals=(*planned, f"--conf={TEXT}"),
        at_file=(*planned, "--conf", "@conf.json"),
        file=(*planned, "--file", folder / "conf.json"),
        short=(*planned, "-f", "conf.json"),
        sets=(*planned, "--set", "dia=2026-01-01", "--set", 'tabelas=["venda"]'),
        on_top=(
            *planned,
            "-f",
            "conf.json",
            "--set",
            "modo=delta",
            "--set",
            "limite=7",
            "--set",
            "tabelas=null",
        ),
        undeclared=(*planned, "--conf", TEXT, "--set", "other=a=b", "--allow-undeclared"),
    )
    done["stdin"] = script(*planned, "--conf", "-", stdin=TEXT)
    done["stdin_file"] = script(*planned, "--file", "-", stdin=TEXT)
    assert {name: one.err for name, one in done.items() if one.code != 0} == {}
    return {name: one.json()["body"]["conf"] for name, one in done.items()}


@pytest.mark.parametrize(
    "way",
    [
        *("string", "tokens", "tokens_last", "equals"),
        *("at_file", "file", "short", "stdin", "stdin_file", "sets"),
    ],
)
def test_conf_can_be_given_in_many_ways(confs, way):
    assert confs[way] == CONF


def test_assignments_go_on_top_as_json_where_they_are(confs):
    assert confs["on_top"] == {"dia": "2026-01-01", "tabelas": None, "modo": "delta", "limite": 7}
    assert confs["undeclared"] == {**CONF, "other": "a=b"}


REFUSED = {
    "syntax": (("--conf", '{"dia": \n oops}'), ["line 2", "column 2"]),
    "list": (("--conf", '["2026-01-01"]'), ["line 1, column 1", "list", "object"]),
    "string": (("--conf", '"2026-01-01"'), ["string", "object"]),
    "empty": (("--conf", ""), ["line 1, column 1"]),
    "twins": (("--conf", '{"dia": "2026-01-01", "dia": "2026-01-02"}'), ["'dia'", "twice"]),
    "no_file": (("--conf", "@nowhere.json"), ["nowhere.json", "No such file"]),
    "two": (("--conf", "{}", "--file", "conf.json"), ["--conf", "--file"]),
    "no_equals": (("--set", "dia"), ["'dia'", "key=value"]),
    "no_key": (("--set", "=5"), ["'=5'", "key=value"]),
    "unknown_key": (("--conf", '{"dias": "2026-01-01"}'), ["'dias'", "did you mean 'dia'?"]),
    "far_key": (("--conf", '{"zzz": 1}'), ["'zzz'", "dia, modo, limite, tabelas"]),
    "missing": (("--set", "modo=delta"), ["'dia'", "described", "The day to read"]),
    "format": (("--conf", '{"dia": "yesterday"}'), ["'dia'", "'yesterday'", "date"]),
    "type": (("--conf", '{"dia": 5}'), ["'dia'", "5", "string"]),
    "enum": (("--set", "dia=2026-01-01", "--set", "modo=fast"), ["'modo'", "'fast'", "'full', 'delta'"]),
    "range": (("--set", "dia=2026-01-01", "--set", "limite=11"), ["'limite'", "11", "10"]),
    "nested": (("--set", "dia=2026-01-01", "--set", 'tabelas=["loja"]'), ["tabelas[0]", "'loja'"]),
}


@pytest.fixture(scope="module")
def refused(script: Script):
    """The results for wrong confs."""
    (script.path.parent / "conf.json").write_text(TEXT)
    return script.each(**{name: ("--dag-id", "described", *given) for name, (given, _) in REFUSED.items()})


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_conf_is_refused_in_one_line_with_its_place(refused, name):
    done = refused[name]
    assert done.code == 2, done.err
    assert done.out == ""
    [line] = done.err.splitlines()
    assert line.startswith("error: ")
    assert [part for part in REFUSED[name][1] if part not in line] == []


def test_no_bad_conf_made_a_run(refused, run_ids):
    assert run_ids("described") == set()


def test_what_a_file_holds_is_named_by_the_file(script):
    (script.path.parent / "wrong.json").write_text('{"dia":\n  "2026-01-01",\n}')
    (script.path.parent / "latin.json").write_bytes(b'{"dia": "S\xe3o"}')
    done = script.each(
        wrong=("--dag-id", "described", "--conf", "@wrong.json"),
        latin=("--dag-id", "described", "--file", "latin.json"),
    )
    assert [one.code for one in done.values()] == [2, 2]
    assert "wrong.json" in done["wrong"].err
    assert "line 3, column 1" in done["wrong"].err or "line 2, column" in done["wrong"].err
    assert "latin.json" in done["latin"].err
    assert "UTF-8" in done["latin"].err
