"""A receiver of OpenTelemetry's protocol (http/protobuf) on loopback, and the names of its metrics in Prometheus."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

COUNTER, SUM, GAUGE, HISTOGRAM = "counter", "sum", "gauge", "histogram"
FAILED = trace_pb2.Status.STATUS_CODE_ERROR


@dataclass(frozen=True)
class Point:
    """One number as received. For a histogram, `value` is the count. `source` has the sender's resource attributes."""

    name: str
    kind: str
    unit: str
    value: float
    labels: Mapping[str, Any]
    source: Mapping[str, Any]
    delta: bool = False


@dataclass(frozen=True)
class Span:
    """One span as received. Ids are hexadecimal, times are seconds since 1970. The root's `parent` is empty."""

    trace: str
    id: str
    parent: str
    name: str
    labels: Mapping[str, Any]
    start: float
    end: float
    failed: bool


@dataclass
class Received:
    """All points and spans received so far. The lists only grow."""

    points: list[Point] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def add_metrics(self, body: bytes) -> None:
        """Add the body of a request to /v1/metrics."""
        request = metrics_service.ExportMetricsServiceRequest.FromString(body)
        for resource in request.resource_metrics:
            source = _values(resource.resource.attributes)
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.points += _points(metric, source)

    def add_spans(self, body: bytes) -> None:
        """Add the body of a request to /v1/traces."""
        request = trace_service.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        trace=span.trace_id.hex(),
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        name=span.name,
                        labels=_values(span.attributes),
                        start=span.start_time_unix_nano / 1e9,
                        end=span.end_time_unix_nano / 1e9,
                        failed=span.status.code == FAILED,
                    )
                    for span in scope.spans
                ]


class Receiver:
    """The receiver, in a thread of this process. A context manager."""

    def __init__(self) -> None:
        self.received = Received()
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            # So that a client can reuse its connection.
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                {"/v1/metrics": received.add_metrics, "/v1/traces": received.add_spans}[self.path](body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, name="otlp", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def prometheus_names(name: str, kind: str, unit: str) -> set[str]:
    """Return the names of a metric's series in Prometheus.

    These are the rules of OpenTelemetry's compatibility specification, which the collector's exporter follows with
    `translation_strategy: UnderscoreEscapingWithSuffixes`: other characters become one underscore; the unit's full name is
    appended, unless it is in braces or in the name already; then comes the suffix of the kind.
    """
    tokens = [token for token in re.split(r"[^a-zA-Z0-9:]+", name) if token]
    main, _, per = unit.partition("/")
    for text in (UNITS.get(main, main), f"per_{PER_UNITS.get(per, per)}" if per else ""):
        if text and not set("{}") & set(text) and text not in tokens and text != "1":
            tokens.append(text)
    if kind == COUNTER:
        tokens = [*(token for token in tokens if token != "total"), "total"]
    elif kind == GAUGE and unit == "1":
        tokens = [*(token for token in tokens if token != "ratio"), "ratio"]
    full = "_".join(tokens)
    return {f"{full}_{end}" for end in ("bucket", "sum", "count")} if kind == HISTOGRAM else {full}


UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes", "m": "meters"}
PER_UNITS = {"s": "second", "m": "minute"}


def prometheus_label(name: str) -> str:
    """Return the Prometheus label for an attribute."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _points(metric: metrics_pb2.Metric, source: Mapping[str, Any]) -> Iterable[Point]:
    delta = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
    match metric.WhichOneof("data"):
        case "gauge":
            for point in metric.gauge.data_points:
                yield Point(
                    metric.name, GAUGE, metric.unit, _number(point), _values(point.attributes), source
                )
        case "sum":
            kind = COUNTER if metric.sum.is_monotonic else SUM
            for point in metric.sum.data_points:
                yield Point(
                    metric.name,
                    kind,
                    metric.unit,
                    _number(point),
                    _values(point.attributes),
                    source,
                    metric.sum.aggregation_temporality == delta,
                )
        case "exponential_histogram" | "histogram" as which:
            histogram = getattr(metric, which)
            for point in histogram.data_points:
                yield Point(
                    metric.name,
                    HISTOGRAM,
                    metric.unit,
                    point.count,
                    _values(point.attributes),
                    source,
                    histogram.aggregation_temporality == delta,
                )


def _number(point: metrics_pb2.NumberDataPoint) -> float:
    return point.as_int if point.WhichOneof("value") == "as_int" else point.as_double


def _values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {item.key: getattr(item.value, str(item.value.WhichOneof("value"))) for item in attributes}
