"""A task instance's place in the trace of its run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from include.conventions import traces
from include.conventions.traces import join_trace

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def spans_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces are on, for this module's code alone: a provider of the process could not be taken back."""
    provider = TracerProvider()
    only_here = SimpleNamespace(get_tracer=provider.get_tracer, set_span_in_context=trace.set_span_in_context)
    monkeypatch.setattr(traces, "trace", only_here)


def task_instance(carrier: dict[str, str] | None = None) -> Any:
    return SimpleNamespace(task_id="mirror", context_carrier=carrier)


def run(flags: str = "01") -> Any:
    return SimpleNamespace(context_carrier={"traceparent": f"00-{TRACE}-{PARENT}-{flags}"})


def test_a_task_has_a_span_of_its_own_in_the_trace_of_the_run():
    first, second = task_instance(), task_instance()
    for instance in (first, second):
        join_trace(instance, run())
    ids = [instance.context_carrier["traceparent"].split("-") for instance in (first, second)]
    assert [trace_id for _, trace_id, _, _ in ids] == [TRACE, TRACE]
    assert len({span_id for _, _, span_id, _ in ids} | {PARENT}) == 3
    assert [flags for *_, flags in ids] == ["01", "01"]


def test_a_run_that_is_not_sampled_stays_so():
    instance = task_instance()
    join_trace(instance, run("00"))
    assert instance.context_carrier["traceparent"].endswith("-00")


def test_a_second_call_changes_nothing():
    instance = task_instance()
    join_trace(instance, run())
    before = dict(instance.context_carrier)
    join_trace(instance, run())
    assert instance.context_carrier == before


@pytest.mark.parametrize("unknown", [None, SimpleNamespace(context_carrier=None)])
def test_a_task_whose_run_is_not_known_waits_for_the_next_call(unknown):
    instance = task_instance()
    join_trace(instance, unknown)
    assert instance.context_carrier is None
