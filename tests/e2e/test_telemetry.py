"""The metrics and traces that a run of the deployment sends, and those that the dashboard needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import yaml

from include.vendas.tables import VENDAS
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from local.waiting import until
from tests.conftest import ROOT
from tests.e2e.conftest import DAG_ID
from tests.e2e.runs import PATIENCE, scheduled
from tests.otlp import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    SUM,
    Receiver,
    Span,
    prometheus_names,
)
from tests.promql import Question, expressions, questions, unanswered

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "etl_vendas.json"
COLLECTOR = ROOT / "deploy" / "otel-collector" / "config.yaml"


def wait(deployment: Deployment, arrived: Callable[[], bool], missing: Callable[[], object]) -> None:
    until(arrived, PATIENCE, missing, check=deployment.supervisor.check, pause=0.5)


def spans_of(telemetry: Receiver, run_id: str) -> list[Span]:
    """Return the spans of this run's trace."""
    spans = list(telemetry.received.spans)
    traces = {
        span.trace
        for span in spans
        if not span.parent and span.labels.get("airflow.dag_run.run_id") == run_id
    }
    return [span for span in spans if span.trace in traces]


def clock(connection: psycopg.Connection[Any]) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return row[0].astimezone(UTC)


@pytest.fixture(scope="module")
def run_id(deployment: Deployment, api: AirflowApi) -> str:
    """A run that moves a row of a range in which a transaction is open. The next run re-reads the range."""
    dsn = deployment.settings.source_dsn
    with closing(psycopg.connect(dsn)) as late, psycopg.connect(dsn, autocommit=True) as source:
        begun = clock(source)
        late.execute("INSERT INTO pais (pais) VALUES ('Chile')")
        source.execute("INSERT INTO pais (pais) VALUES ('Uruguai')")
        with scheduled(api, DAG_ID):
            run_id = api.trigger(DAG_ID, {"inicio": begun.isoformat(), "fim": clock(source).isoformat()})
            assert api.wait(DAG_ID, run_id, PATIENCE, deployment.supervisor.check).state == "success"
        late.commit()
    return run_id


@pytest.fixture(scope="module")
def trace(deployment: Deployment, telemetry: Receiver, run_id: str) -> dict[str, Span]:
    """The spans of that run by name, after the last one has arrived."""

    def names() -> set[str]:
        return {span.name for span in spans_of(telemetry, run_id)}

    wait(deployment, lambda: {f"dag_run.{DAG_ID}", "task_run.check", "worker.check"} <= names(), names)
    return {span.name: span for span in spans_of(telemetry, run_id)}


def test_a_run_is_one_trace_of_its_tasks(trace):
    assert not trace[f"dag_run.{DAG_ID}"].parent
    for task in ("plan_windows", "mirror[0]", "check"):
        assert trace[f"task_run.{task}"].parent == trace[f"dag_run.{DAG_ID}"].id
        assert trace[f"worker.{task}"].parent == trace[f"task_run.{task}"].id


def test_a_trace_has_a_span_per_table(trace):
    moving = trace["mirror.pass"]
    assert moving.parent == trace["worker.mirror[0]"].id
    for table in VENDAS.names:
        stage = trace[f"mirror.stage {table}"]
        assert (stage.parent, stage.labels["table"], stage.labels["kind"]) == (moving.id, table, "window")
        assert moving.start <= stage.start <= stage.end <= moving.end
    assert trace["mirror.stage pais"].labels["rows"] == 1
    publish, record = trace["mirror.publish pais"], trace["mirror.record"]
    assert trace["mirror.stage item_venda"].end <= publish.start <= publish.end <= record.start


def test_the_mirror_reports_its_numbers_per_table(deployment, telemetry, trace):
    def values(name: str, **labels: str) -> dict[str, float]:
        return {
            str(point.labels["table"]): point.value
            for point in list(telemetry.received.points)
            if point.name == name and {"mirror": "vendas", **labels}.items() <= dict(point.labels).items()
        }

    wait(deployment, lambda: set(VENDAS.names) <= set(values("mirror.lag")), lambda: values("mirror.lag"))
    assert set(values("mirror.covered_until.timestamp")) == set(VENDAS.names)
    assert all(lag > 0 for lag in values("mirror.lag").values())
    assert set(values("mirror.rows", kind="window")) == set(VENDAS.names)
    assert set(values("mirror.reads", kind="window")) == set(VENDAS.names)
    assert all(speed > 0 for speed in values("mirror.throughput").values())


def test_processes_of_tasks_send_increments(telemetry, trace):
    """Otherwise each process would have its own sum, which would stay at one for ever."""
    points = list(telemetry.received.points)
    counted = [point for point in points if point.kind in ("counter", HISTOGRAM)]
    assert {point.name for point in counted} >= {"airflow.ti.finish", "airflow.task.duration", "mirror.rows"}
    assert all(point.delta for point in counted)


def test_the_dashboard_asks_only_for_what_arrives(deployment, api, telemetry, trace, schedule):
    api.unpause("endless", PATIENCE, deployment.supervisor.check)
    failed = api.wait("endless", api.trigger("endless", {}), PATIENCE, deployment.supervisor.check)
    assert failed.state == "failed"
    asked = {question for text in expressions(DASHBOARD) for question in questions(text)}
    assert {question.series.partition("_")[0] for question in asked} == {"airflow", "mirror"}

    def missing() -> list[Question]:
        return unanswered(asked, list(telemetry.received.points))

    wait(deployment, lambda: not missing(), missing)


@pytest.mark.parametrize(
    ("name", "kind", "unit", "series"),
    [
        ("system.filesystem.usage", SUM, "By", {"system_filesystem_usage_bytes"}),
        ("(lambda).function.executions(#)", SUM, "", {"lambda_function_executions"}),
        ("system.network.dropped", SUM, "{packets}", {"system_network_dropped"}),
        ("system.network.dropped", SUM, "packets", {"system_network_dropped_packets"}),
        ("system.memory.utilization", GAUGE, "1", {"system_memory_utilization_ratio"}),
        ("astro.light.speed", GAUGE, "m/s", {"astro_light_speed_meters_per_second"}),
        ("system.processes.created", COUNTER, "", {"system_processes_created_total"}),
    ],
)
def test_names_are_translated_as_the_collector_documents_it(name, kind, unit, series):
    assert prometheus_names(name, kind, unit) == series


def test_the_collector_adds_up_and_translates_what_the_dashboard_rests_on():
    config = yaml.safe_load(COLLECTOR.read_text())
    assert config["exporters"]["prometheus"]["translation_strategy"] == "UnderscoreEscapingWithSuffixes"
    steps = config["service"]["pipelines"]["metrics"]["processors"]
    assert steps.index("resource") < steps.index("deltatocumulative")
    assert steps.index("transform") < steps.index("deltatocumulative")
    # Increments of many processes can be added up only if they all have the same instance id.
    [identity] = config["processors"]["resource"]["attributes"]
    assert (identity["key"], identity["action"]) == ("service.instance.id", "upsert")
