"""How the demonstration evaluates runs and figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from local.compare.database import Figures, TableDifference
from local.demos.vendas import Moved, Outcome, chain, conclude
from local.demos.vendas_harm import Deleted, Found
from local.demos.vendas_view import View, differences_tables, runs_table
from local.deployment.api import Run
from local.source.simulator import Stats

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SAME = TableDifference("venda", Figures(3, Decimal("1.50"), 7), Figures(3, Decimal("1.50"), 7))
FOUND = Found(different=3, missing=1, extra=0, repaired=4)
ALTERED = TableDifference("venda", Figures(3, Decimal("1.50"), 7), Figures(4, Decimal("1.49"), 8))


def run(number: int, run_type: str = "scheduled", state: str = "success") -> Run:
    """Return the run of the interval with this number; each interval is 20 s long."""
    start = NOON + timedelta(seconds=20 * number)
    end = start + timedelta(seconds=20)
    if run_type == "manual":
        conf = {"inicio": start.isoformat(), "fim": end.isoformat()}
        return Run(f"{run_type}{number}", run_type, state, None, None, end, end, conf)
    return Run(f"{run_type}{number}", run_type, state, start, end, end, end + timedelta(seconds=4.04), {})


def printed(thing: object, width: int = 160) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(thing)
    return console.export_text()


def test_chain_is_the_longest_series_of_adjoining_successful_scheduled_runs():
    runs = [run(0), run(1), run(3), run(4), run(5), run(5, "manual"), run(6, state="running")]
    assert chain(runs) == [run(3), run(4), run(5)]
    assert chain([run(2), run(0), run(1)]) == [run(0), run(1), run(2)]
    assert chain([run(0), run(1, state="failed"), run(2)]) == [run(0)]
    assert chain([run(0, "manual")]) == []


def test_empty_interval_is_no_part_of_a_chain():
    instant = Run("cron", "scheduled", "success", NOON, NOON, NOON, NOON, {})
    assert chain([instant]) == []


def outcome(runs: list[Run], *differences: TableDifference, reconciled: Found = FOUND) -> Outcome:
    return Outcome(
        runs,
        list(differences),
        {"venda": Moved(3, 0.5)},
        7,
        1234,
        Deleted(900, 100, 10),
        reconciled,
        seconds=1,
    )


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (
            outcome([run(number) for number in range(4)], SAME, ALTERED),
            "venda differs between the two servers",
        ),
        (
            outcome([run(0), run(1), run(2), run(4)], SAME),
            "only 3 scheduled runs in a row succeeded on adjoining intervals",
        ),
        (
            outcome([*(run(number) for number in range(4)), run(1, "manual", "failed")], SAME),
            "run manual1 ended as failed",
        ),
        (
            outcome([run(number) for number in range(4)], SAME, reconciled=Found(2, 1, 1, 4)),
            "reconciliation found 2 sales with another value",
        ),
    ],
)
def test_exit_code_is_1_for_a_difference_a_gap_or_a_failure(found, problem, capsys):
    assert conclude(found, Console(width=160)) == 1
    assert problem in capsys.readouterr().out


def test_exit_code_is_0_when_nothing_differs_and_the_runs_were_scheduled(capsys):
    assert conclude(outcome([run(number) for number in range(4)], SAME), Console(width=160)) == 0
    said = capsys.readouterr().out
    assert "Not one value differs." in said
    assert "7 transactions committed long after they had begun; 1,234 rows" in said


def test_runs_show_intervals_and_whether_they_adjoin():
    text = printed(runs_table([run(0), run(1), run(3), run(1, "manual")]))
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == ["scheduled", "12:00:00", "to", "12:00:20", "success", "4.0"]
    assert lines[2] == ["scheduled", "12:00:20", "to", "12:00:40", "yes", "success", "4.0"]
    assert lines[3] == ["scheduled", "12:01:00", "to", "12:01:20", "no", "success", "4.0"]
    assert lines[4] == ["manual", "12:00:20", "to", "12:00:40", "again", "success", "0.0"]


@pytest.mark.parametrize("width", [80, 120])
def test_every_figure_and_heading_is_whole_on_a_terminal(width):
    names = ("pais", "cidade", "cliente", "produto", "venda", "item_venda")
    ours = Figures(99_999_999, Decimal("12345678901.23"), 7)
    theirs = Figures(98_765_432, Decimal("12344444444.11"), 8)
    differences = [TableDifference(name, ours, theirs) for name in names]
    shown = printed(
        differences_tables(differences, {name: Moved(99_999_998, 1234.5) for name in names}), width
    )
    lines = [line.split() for line in shown.splitlines()]
    assert ["table", "PostgreSQL", "ClickHouse", "difference", "moved", "time"] in lines
    assert ["table", "PostgreSQL", "ClickHouse", "difference"] in lines
    for name in names:
        assert [name, "99,999,999", "98,765,432", "-1,234,567", "99,999,998", "1234.5", "s"] in lines
        assert [name, "12,345,678,901.23", "12,344,444,444.11", "-1,234,457.12"] in lines
    text = printed(runs_table([run(0, state="failed"), run(1), run(1, "manual")]), width)
    assert [line.split() for line in text.splitlines()] == [
        ["run_type", "interval", "(UTC)", "adjoins", "state", "seconds"],
        ["scheduled", "12:00:00", "to", "12:00:20", "failed", "4.0"],
        ["scheduled", "12:00:20", "to", "12:00:40", "yes", "success", "4.0"],
        ["manual", "12:00:20", "to", "12:00:40", "again", "success", "0.0"],
    ]


def test_a_comparison_alone_has_no_columns_of_what_was_moved():
    shown = printed(differences_tables([SAME, ALTERED], {}), 80)
    lines = [line.split() for line in shown.splitlines()]
    assert lines.count(["table", "PostgreSQL", "ClickHouse", "difference"]) == 2
    assert ["venda", "3", "4", "+1"] in lines
    assert ["venda", "1.50", "1.49", "-0.01"] in lines


def test_view_without_a_terminal_says_each_change_once(capsys):
    with View(Console(width=160)) as view:
        view.sales(Stats(sales=5))
        view.progress([run(0, state="running")], 0)
        view.progress([run(0, state="running")], 0)
        view.progress([run(0)], 1234)
    said = [line.split("s  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "scheduled run 12:00:00 to 12:00:20: running",
        "scheduled run 12:00:00 to 12:00:20: success",
    ]


def test_view_on_a_terminal_shows_runs_and_figures():
    view = View(Console(width=160, force_terminal=True))
    view.sales(Stats(sales=5, late_commits=2, read_first_commits=1))
    view.progress([run(0)], 1234)
    text = printed(view._render())
    assert "5 sales" in text
    assert "3 committed late" in text
    assert "1,234 rows" in text
    assert "12:00:00 to 12:00:20" in text
