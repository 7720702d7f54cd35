"""The spans of a run, if an SDK is set up: one for each step and table, marked as failed if the step failed."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from include.mirror import telemetry
from include.mirror.plan import Work


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """An exporter that gets the mirror's spans of this test only."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("test"))
    return exporter


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_table_has_a_span_for_loading_and_one_for_publishing_where_it_has_rows(lab, exporter):
    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    exporter.clear()
    lab.run()
    found = spans(exporter)
    assert {name for name in found if name.startswith("mirror.stage")} == {
        f"mirror.stage {table}" for table in lab.tables
    }
    assert {name for name in found if name.startswith("mirror.publish")} == {
        "mirror.publish venda",
        "mirror.publish item_venda",
    }
    assert (found["mirror.stage venda"].attributes or {})["rows"] == 1
    parents = [span.parent for name, span in found.items() if name != "mirror.pass"]
    assert {parent and parent.span_id for parent in parents} == {found["mirror.pass"].context.span_id}


def test_a_re_read_says_that_it_is_one(lab, exporter):
    with lab.connect(autocommit=False) as late:
        lab.sell(late)
        lab.run()
        late.commit()
    exporter.clear()
    lab.run()
    kinds = {
        span.attributes["kind"] for span in exporter.get_finished_spans() if span.name == "mirror.stage venda"
    }
    assert kinds == {"window", "reread"}


def test_a_step_that_fails_is_marked_and_so_is_its_pass(lab, exporter):
    def break_off(step: str, window: Work) -> None:
        if (step, window.tabela) == ("staged", "produto"):
            raise RuntimeError("no further")

    with pytest.raises(RuntimeError, match="no further"):
        lab.run(engine=lab.engine(observe=break_off))
    failed = {name for name, span in spans(exporter).items() if not span.status.is_ok}
    assert failed == {"mirror.stage produto", "mirror.pass"}
