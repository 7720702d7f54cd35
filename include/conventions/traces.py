"""One trace for a run: what Airflow leaves out of it where the tasks' queue is chosen by a hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

_propagator = TraceContextTextMapPropagator()


def join_trace(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Give a task instance its place in the trace of its run, unless it has one.

    Airflow 3.3 does this for the task instances that it inserts in bulk. With a `task_instance_mutation_hook` it
    makes them one by one and forgets it: each task would then be a trace of its own. With traces off it is in vain,
    and harmless.
    """
    if dag_run is None or not dag_run.context_carrier or task_instance.context_carrier:
        return
    # Of this span only the ids are wanted. Airflow sends one that bears them when the task has ended.
    span = trace.get_tracer(__name__).start_span(
        task_instance.task_id, context=_propagator.extract(dag_run.context_carrier)
    )
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span))
    task_instance.context_carrier = carrier
