"""What the tables show of jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trigger.model import Job
from trigger.screen import Screen, wall_clock
from trigger.tables import show_jobs

NOW = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)
JOB = Job(
    name="every-minute",
    task="mail.send",
    args=[],
    kwargs={},
    cron="* * * * *",
    timezone="UTC",
    queue="default",
    enabled=True,
    missed="once",
    next_run_at=NOW + timedelta(minutes=1),
    last_run_at=NOW,
    last_state="queued",
    outcome="failed",
    outcome_run_at=NOW - timedelta(minutes=1),
    outcome_at=NOW - timedelta(seconds=40),
    outcome_reason="ValueError: no such customer",
    last_error=None,
    created_by="maria",
    changed_by=None,
)


@pytest.mark.parametrize("width", [60, 10_000])
def test_state_last_outcome_and_next_time_stand_together(
    capsys: pytest.CaptureFixture[str], width: int
) -> None:
    screen = Screen("table", verbose=False)
    screen.width = width
    show_jobs(screen, [JOB])
    shown = capsys.readouterr()
    header = shown.out.splitlines()[0]
    assert header.index("state") < header.index("last outcome") < header.index("next run")
    assert "failed" in shown.out
    if width > 60:
        assert f"active  failed {wall_clock(JOB.outcome_at)}  {wall_clock(JOB.next_run_at)}" in shown.out
    assert shown.err == (
        f"warning: job every-minute failed at {wall_clock(JOB.outcome_at)}: ValueError: no such customer\n"
    )


def test_a_failure_without_a_known_error_sends_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    show_jobs(Screen("plain", verbose=False), [replace(JOB, outcome_reason=None)])
    shown = capsys.readouterr()
    assert shown.out.split("\t") == [
        *("every-minute", "active", "queued", str(JOB.next_run_at)),
        *("failed", str(JOB.outcome_at), "-\n"),
    ]
    assert "see the run's log" in shown.err
