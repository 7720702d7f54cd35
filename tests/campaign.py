"""Counts the hostile things that tests send, for the summary of `make test-security`.

A test with the mark `security("statements")` sends one, which must be refused; with a number behind it, so many. A test that
sends several, some of which are let through as they should be, counts them with the fixture `campaign`.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, MutableSequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

PROPERTY = "campaign"
SEED = "SECURITY_SEED"


@dataclass(frozen=True)
class Campaign:
    """The counts of one test, kept with its report, so that they also arrive from another process."""

    properties: MutableSequence[tuple[str, object]]

    def refused(self, kind: str, count: int = 1) -> None:
        """Count what was refused; `kind` is a plural, such as `requests`."""
        self.properties.append((PROPERTY, [kind, "refused", count]))

    def let_through(self, kind: str, count: int = 1) -> None:
        """Count what was let through, as expected: it did no harm."""
        self.properties.append((PROPERTY, [kind, "let through", count]))


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Campaign:
    """The counts of this test."""
    return Campaign(request.node.user_properties)


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of the wide searches: that of SECURITY_SEED, or a new one."""
    return int(os.environ.get(SEED) or random.randrange(1_000_000))


def count_marked(item: pytest.Item) -> None:
    """Count what a test sends by its mark."""
    for mark in item.iter_markers("security"):
        if mark.args:
            Campaign(item.user_properties).refused(*mark.args)


def summary(reports: Iterable[pytest.TestReport]) -> list[str]:
    """Return the table of all counts, by kind. What a failed test has sent counts as unexpected."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in reports:
        for name, value in report.user_properties:
            if name == PROPERTY:
                kind, result, count = cast("list[Any]", value)
                counts[kind][result if report.passed else "in failed tests"] += count
    results = ("refused", "let through", "in failed tests")
    lines = [f"{'':<16}{'sent':>9}" + "".join(f"{result:>17}" for result in results)]
    for kind, found in sorted(counts.items()):
        lines.append(
            f"{kind:<16}{found.total():>9,}" + "".join(f"{found[result]:>17,}" for result in results)
        )
    return lines
