"""The list of DAGs from Airflow: all its pages, and each filter."""

from __future__ import annotations

import pytest

from tests.trigger.script import Done, Script
from tests.trigger.test_list import KEYS, KINDS, ids

# More than one page.
MANY = {f"many_{number:03}" for number in range(110)}


@pytest.fixture(scope="module")
def lists(script: Script) -> dict[str, Done]:
    """The lists with each filter that Airflow applies."""
    assert script("--dag-id", "quick", "--wait", "--interval", "0.2").code == 0
    done = script.each(
        all=("--list", "-o", "json"),
        tag=("--list", "--tag", "fast", "-o", "json"),
        tags=("--list", "--tag", "fast", "--tag", "resting", "-o", "json"),
        paused=("--list", "--paused", "--tag", "many", "-o", "json"),
        unpaused=("--list", "--unpaused", "-o", "json"),
        nothing=("--list", "--tag", "nobody", "-o", "json"),
    )
    assert {name: one.err for name, one in done.items() if one.code != 0} == {}
    return done


def test_every_page_is_read_once(lists):
    listed = ids(lists["all"])
    assert len(listed) == len(set(listed))
    assert set(listed) >= KINDS | MANY | {"etl_vendas"}
    assert listed == sorted(listed)
    assert all(set(dag) == KEYS for dag in lists["all"].json())


def test_a_dag_is_described(lists):
    dags = {dag["dag_id"]: dag for dag in lists["all"].json()}
    assert dags["quick"] == {
        "dag_id": "quick",
        "paused": False,
        "schedule": None,
        "next_run": None,
        "last_state": "success",
        "tags": ["fast", "kinds"],
        "owners": ["ana"],
        "description": "Ends at once",
        "import_error": False,
        "file": "kinds.py",
    }
    assert dags["many_000"]["paused"] is True
    assert dags["many_000"]["last_state"] is None
    assert dags["etl_vendas"]["schedule"] == "* * * * * */30"


@pytest.mark.parametrize(("name", "expected"), [("tag", {"quick"}), ("paused", MANY), ("nothing", set())])
def test_a_filter_keeps_what_it_names(lists, name, expected):
    assert set(ids(lists[name])) == expected


def test_any_of_several_tags_will_do(lists):
    assert {"quick", "paused", "paused_too"} == set(ids(lists["tags"]))


def test_dags_that_are_not_paused(lists):
    assert not any(dag["paused"] for dag in lists["unpaused"].json())
    assert "quick" in ids(lists["unpaused"])
