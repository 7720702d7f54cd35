"""Extract the series and labels that a Grafana dashboard's queries need, by PromQL's own grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser

from tests.otlp import Point, prometheus_label, prometheus_names

MADE_BY_PROMETHEUS = {"le"}
"""The label of a histogram's buckets, which no sender sets."""


@dataclass(frozen=True)
class Question:
    """A series: its name, the required values of labels, and the labels in the results."""

    series: str
    wanted: frozenset[tuple[str, str]]
    labels: frozenset[str]


def expressions(dashboard: Path) -> list[str]:
    """Return every PromQL expression of a dashboard."""
    panels = json.loads(dashboard.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ()) if "expr" in target]


def questions(expression: str) -> list[Question]:
    """Return the series that an expression reads. Raises ValueError if it is not PromQL."""
    return list(_walk(promql_parser.parse(expression), frozenset()))


def _walk(node: Any, labels: frozenset[str]) -> Iterator[Question]:
    match type(node).__name__:
        case "VectorSelector":
            matchers = node.matchers.matchers
            wanted = frozenset((one.name, one.value) for one in matchers)
            yield Question(node.name, wanted, labels | {name for name, _ in wanted})
        case "MatrixSelector":
            yield from _walk(node.vector_selector, labels)
        case "AggregateExpr":
            kept = frozenset(node.modifier.labels) - MADE_BY_PROMETHEUS if node.modifier else frozenset()
            yield from _walk(node.expr, labels | kept)
        case "BinaryExpr":
            yield from _walk(node.lhs, labels)
            yield from _walk(node.rhs, labels)
        case "Call":
            for argument in node.args:
                yield from _walk(argument, labels)
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            yield from _walk(node.expr, labels)
        case "NumberLiteral":
            pass
        case other:
            raise ValueError(f"{other} is not known here")


def unanswered(asked: Iterable[Question], points: Iterable[Point]) -> list[Question]:
    """Return the questions for which Prometheus would find no series among the received points."""
    arrived: dict[str, set[frozenset[tuple[str, str]]]] = {}
    for name, kind, unit, labels in {
        (point.name, point.kind, point.unit, frozenset(point.labels.items())) for point in points
    }:
        for series in prometheus_names(name, kind, unit):
            arrived.setdefault(series, set()).add(
                frozenset((prometheus_label(key), str(value)) for key, value in labels)
            )
    return [
        question
        for question in asked
        if not any(_answers(question, dict(labels)) for labels in arrived.get(question.series, ()))
    ]


def _answers(question: Question, labels: Mapping[str, str]) -> bool:
    return question.labels <= set(labels) and all(
        re.fullmatch(pattern, labels[name]) for name, pattern in question.wanted
    )
