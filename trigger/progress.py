"""The output while a run or a backfill is in progress."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from trigger.errors import NotFound, Transient, TriggerError
from trigger.model import FINISHED, TASK_FINISHED, Run, Task, seconds_since
from trigger.screen import COLOURS, Screen, cell, time_taken
from trigger.tables import by_task_id, counted, is_mapped, task_table


class Progress:
    """Shows a run during the wait: a live table on a terminal, otherwise one line per change."""

    def __init__(self, screen: Screen, follow: Callable[[Task, int], list[str]] | None) -> None:
        self.screen = screen
        self.tasks: list[Task] = []
        self._follow = follow
        self._seen: dict[str, str] = {}
        self._lines: dict[tuple[str, int], Counter[str]] = {}
        self._ended: set[tuple[str, int]] = set()
        # Not rich's own check: FORCE_COLOR adds colours to a pipe, but a pipe is not a terminal.
        moves = sys.stderr.isatty() and not screen.beside.is_dumb_terminal
        self._live = Live(console=screen.beside, auto_refresh=False) if moves else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            # The result shows the same, so the live table is removed.
            self._live.update(Text(""), refresh=True)
            self._live.stop()

    def run(self, run: Run, tasks: list[Task]) -> None:
        """Show the present state of a run and its tasks."""
        self.tasks = tasks
        if self._follow is not None:
            for task in tasks:
                self._print_log(task)
        if self._live:
            took = None if run.start_date is None else seconds_since(run.start_date)
            head = Text.assemble((run.dag_id, "bold"), "  ", run.run_id, "  ", cell(run.state))
            head.append(f"  {time_taken(took) or ''}")
            height = max(3, self.screen.beside.height - 4)
            self._live.update(Group(head, task_table(tasks, most=height)), refresh=True)
            return
        self._change("run", run.state)
        for task_id, group in by_task_id(tasks).items():
            task = group[0]
            if is_mapped(group):
                self._change(task_id, counted(group).plain)
            elif task.state != "none":
                details = f" (try {task.try_number})" if task.try_number else ""
                if task.state in FINISHED and task.duration is not None:
                    details = f" (try {task.try_number}, {time_taken(task.duration)})"
                self._change(task.label, f"{task.state}{details}")

    def runs(self, runs: Sequence[Run]) -> None:
        """Show the present states of a backfill's runs."""
        states = Counter(run.state for run in runs)
        done = sum(states[state] for state in FINISHED)
        line = Text(f"{done}/{len(runs)} runs")
        for name, count in sorted(states.items()):
            line.append(f" {count} {name}", style=COLOURS.get(name, ""))
        if runs and done == len(runs):
            line.append("; Airflow closes the backfill within half a minute")
        if self._live:
            self._live.update(line, refresh=True)
        else:
            self._change("backfill", line.plain)

    def _change(self, name: str, state: str) -> None:
        if self._seen.get(name) != state:
            self._seen[name] = state
            self.screen.say(f"{datetime.now().astimezone():%H:%M:%S} {name} {state}")

    def _print_log(self, task: Task) -> None:
        # An upstream_failed or skipped task has a start date, but no log.
        if self._follow is None or task.start_date is None or not task.try_number:
            return
        for number in range(1, task.try_number + 1):
            key = (task.label, number)
            if key in self._ended:
                continue
            ended = number < task.try_number or task.state in (*TASK_FINISHED, "up_for_retry")
            try:
                lines = self._follow(task, number)
            except NotFound:
                lines = []  # no log yet
            except Transient:
                raise
            except TriggerError as error:
                self.screen.warn(f"the log of {task.label} can't be read: {error}")
                lines, ended = [], True
            # A log is sorted by time, so new lines may appear in the middle, and Airflow's first note may disappear.
            seen = self._lines.setdefault(key, Counter())
            unseen = Counter(lines) - seen
            for line in lines:
                if unseen[line] > 0:
                    unseen[line] -= 1
                    seen[line] += 1
                    self.screen.say(f"{task.label} | {line}")
            if ended:
                self._ended.add(key)
