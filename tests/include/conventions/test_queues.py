"""Which queue a task instance gets, and which DAGs the cluster policy refuses."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.conventions.queues import Queue, choose_queue, declare_queues, queue_param

ROOT = Path(__file__).resolve().parents[3]

anything = (
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | st.sampled_from(Queue)
)


def task_instance(queue: str = "default") -> Any:
    """Return what the hook may see; it has no session and no other attribute to look one up with."""
    return SimpleNamespace(dag_id="ola", run_id="manual", queue=queue)


def run(conf: Any) -> Any:
    return SimpleNamespace(conf=conf)


@given(wanted=st.sampled_from(Queue), own=st.sampled_from(Queue), times=st.integers(1, 3))
def test_a_run_chooses_its_queue_however_often_the_hook_is_called(wanted, own, times):
    instance = task_instance(own.value)
    for _ in range(times):
        choose_queue(instance, run({"queue": wanted.value}))
    assert instance.queue == wanted.value
    assert type(instance.queue) is str, "what reaches the database driver is a plain string"


@given(conf=st.none() | st.dictionaries(st.text(), anything) | st.just([]), own=st.sampled_from(Queue))
def test_a_conf_that_names_no_queue_keeps_the_dags_own(conf, own):
    if isinstance(conf, dict):
        conf.pop("queue", None)
    instance = task_instance(own.value)
    choose_queue(instance, run(conf))
    assert instance.queue == own.value


@given(wanted=anything.filter(lambda value: value is not None and value not in list(Queue)))
def test_a_queue_off_the_list_never_reaches_the_broker(wanted):
    instance = task_instance("low")
    choose_queue(instance, run({"queue": wanted}))
    assert instance.queue == "low"


def test_a_queue_off_the_list_is_named_in_the_log(caplog):
    with caplog.at_level(logging.WARNING):
        choose_queue(task_instance(), run({"queue": "urgent"}))
    assert "run manual of ola asks for queue 'urgent'; there are high, default, low" in caplog.text


def test_an_instance_without_a_run_keeps_its_queue():
    instance = task_instance("high")
    choose_queue(instance, None)
    assert instance.queue == "high"


def dag(**params: Any) -> Any:
    from airflow.sdk import DAG
    from airflow.sdk.bases.operator import BaseOperator

    with DAG("a_dag", schedule=None, params=params) as built:
        BaseOperator(task_id="a_task")
    return built


def test_the_policy_gives_every_dag_the_param():
    from airflow.sdk.exceptions import ParamValidationError

    built = dag()
    declare_queues(built)
    declare_queues(built)
    assert built.params["queue"] is None
    built.params["queue"] = "high"
    with pytest.raises(ParamValidationError):
        built.params["queue"] = "urgent"


def test_the_policy_takes_a_dag_that_declares_it_with_a_default_of_its_own():
    param = queue_param()
    param.value = "low"
    built = dag(queue=param)
    declare_queues(built)
    assert built.params["queue"] == "low"


@pytest.mark.parametrize("schema", [{}, {"enum": ["fast", "slow"]}, {"type": "integer"}])
def test_the_policy_refuses_a_param_of_another_meaning(schema):
    from airflow.exceptions import AirflowClusterPolicyViolation
    from airflow.sdk import Param

    with pytest.raises(AirflowClusterPolicyViolation, match="Param queue of a_dag must be an enum of high"):
        declare_queues(dag(queue=Param(None, **schema)))


def test_the_policy_refuses_a_queue_that_no_worker_serves():
    from airflow.exceptions import AirflowClusterPolicyViolation

    built = dag()
    built.get_task("a_task").queue = "fast"
    with pytest.raises(AirflowClusterPolicyViolation, match="task a_task of a_dag has queue 'fast'"):
        declare_queues(built)


def test_the_cluster_policy_is_registered(tmp_path):
    program = (
        "from airflow import settings\n"
        "hooks = settings.get_policy_plugin_manager().hook\n"
        "print(settings.task_instance_mutation_hook.is_noop,"
        " len(hooks.task_instance_mutation_hook.get_hookimpls()), len(hooks.dag_policy.get_hookimpls()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "config"))),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False 1 1"
