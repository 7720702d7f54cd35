"""Receives metrics in OpenTelemetry's protocol and serves them to Prometheus, as `deploy/otel-collector/config.yaml` says.

It adds up increments, converts exponential histograms to that file's buckets, and translates names by the specification's
rules. Traces are received and dropped.
"""

from __future__ import annotations

import gzip
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA as DELTA

from tests.otlp import COUNTER, GAUGE, HISTOGRAM, SUM, prometheus_label, prometheus_names

CONFIGURATION = yaml.safe_load(Path("/etc/otelcol-contrib/config.yaml").read_text())
(STATEMENT,) = CONFIGURATION["processors"]["transform"]["metric_statements"][0]["statements"]
BOUNDS = [float(bound) for bound in STATEMENT.partition("[")[2].partition("]")[0].split(",")]
Labels = tuple[tuple[str, str], ...]

_numbers: dict[tuple[str, Labels], float] = defaultdict(float)
_lock = Lock()


def add(body: bytes) -> None:
    """Add the metrics in the body of a request to /v1/metrics."""
    with _lock:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            sender = {item.key: item.value.string_value for item in resource.resource.attributes}
            common = (("instance", "airflow"), ("job", sender.get("service.name", "")))
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                kind = str(metric.WhichOneof("data"))
                data = getattr(metric, kind)
                for name, labels, value in _series(metric, kind, data):
                    key = (name, tuple(sorted((*common, *labels))))
                    grows = kind != "gauge" and data.aggregation_temporality == DELTA
                    _numbers[key] = _numbers[key] + value if grows else value


def _series(metric: Any, kind: str, data: Any) -> Iterator[tuple[str, Labels, float]]:
    """Yield name, labels and value of each series of a metric. The value is a total or an increment."""
    for point in data.data_points:
        labels = tuple((prometheus_label(item.key), _text(item.value)) for item in point.attributes)
        if kind in ("gauge", "sum"):
            means = GAUGE if kind == "gauge" else COUNTER if data.is_monotonic else SUM
            (name,) = prometheus_names(metric.name, means, metric.unit)
            yield name, labels, float(getattr(point, str(point.WhichOneof("value"))))
            continue
        names = prometheus_names(metric.name, HISTOGRAM, metric.unit)
        name = min(names, key=len).removesuffix("_sum")
        bounds, counts = _buckets(kind, point)
        for place, bound in enumerate([*map(str, bounds), "+Inf"]):
            yield f"{name}_bucket", (*labels, ("le", bound)), sum(counts[: place + 1])
        yield f"{name}_sum", labels, point.sum
        yield f"{name}_count", labels, point.count


def _buckets(kind: str, point: Any) -> tuple[list[float], list[float]]:
    if kind == "histogram":
        return list(point.explicit_bounds), list(point.bucket_counts)
    counts = [0.0] * (len(BOUNDS) + 1)
    counts[0] += point.zero_count
    base = 2.0**2.0**-point.scale
    for place, count in enumerate(point.positive.bucket_counts, start=point.positive.offset):
        counts[bisect_left(BOUNDS, (base**place + base ** (place + 1)) / 2)] += count
    return BOUNDS, counts


def _text(value: Any) -> str:
    found = getattr(value, str(value.WhichOneof("value")))
    return str(found).lower() if isinstance(found, bool) else str(found)


def exposition() -> Iterable[str]:
    """Return Prometheus' text format."""
    with _lock:
        found = sorted(_numbers.items())
    for (name, labels), value in found:
        quoted = (text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for _, text in labels)
        pairs = ",".join(f'{label}="{text}"' for (label, _), text in zip(labels, quoted, strict=True))
        yield f"{name}{{{pairs}}} {value}\n"


class Handler(BaseHTTPRequestHandler):
    """Receives metrics and traces by POST, and answers each GET with all series, health checks too."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Add metrics; drop anything else."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/metrics":
            add(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self._answer("application/x-protobuf", b"")

    def do_GET(self) -> None:
        """Answer with every series."""
        self._answer("text/plain; version=0.0.4; charset=utf-8", "".join(exposition()).encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log no requests."""


if __name__ == "__main__":
    for port in (8889, 13133):
        Thread(target=ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever, daemon=True).start()  # noqa: S104
    ThreadingHTTPServer(("0.0.0.0", 4318), Handler).serve_forever()  # noqa: S104
