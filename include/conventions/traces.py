"""Keeps all spans of a run in one trace. Airflow does not if a hook chooses the tasks' queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

_propagator = TraceContextTextMapPropagator()


def join_trace(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Put a task instance into the trace of its run, unless it is in one.

    Airflow 3.3 does this only for task instances that it inserts in bulk. With a `task_instance_mutation_hook` it creates
    them one by one without it, so each task would get its own trace. If traces are off, this has no effect.
    """
    if dag_run is None or not dag_run.context_carrier or task_instance.context_carrier:
        return
    # Only this span's ids are used: Airflow sends a span with the same ids when the task has ended.
    span = trace.get_tracer(__name__).start_span(
        task_instance.task_id, context=_propagator.extract(dag_run.context_carrier)
    )
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span))
    task_instance.context_carrier = carrier
