"""The page At a glance: a row for each run, and nothing that was found is taken for markup."""

from __future__ import annotations

from datetime import UTC, datetime

from include.conventions.reasons import Reason
from include.pages.glance import Row, last_extras, log_of, page

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_run_shows_its_words_and_numbers():
    extra = {"resumo": "3 things", "eventos": 3, "flag": True, "lista": [1], "texto": "x"}
    shown = page([Row("r1", NOON, "success", 4.25, 2, (extra,)), Row("r2", NOON, "running", None, 0, ())])
    assert '<td title="r1">2026-01-01 12:00:00</td><td class="success">success</td>' in shown
    assert '<td class="number">4.2</td><td class="number">2</td><td>3 things</td><td>eventos 3</td>' in shown
    assert '<td class="number"></td><td class="number">0</td><td></td><td></td>' in shown


def test_of_each_asset_of_a_run_the_last_word_counts():
    a, b, again, other = ({"resumo": text} for text in ("a", "b", "a again", "other"))
    events = [("r1", 1, a), ("r1", 2, b), ("r1", 1, again), ("r2", 1, other)]
    assert last_extras(events) == {"r1": (again, b), "r2": (other,)}


def test_the_column_of_tries_says_what_it_counts():
    # A run that was cleared was tried again by a person.
    assert '<th class="number">task tries above the first</th>' in page([])


def test_what_was_found_is_text():
    hostile = '"><script>alert(1)</script>'
    shown = page([Row(hostile, NOON, hostile, 1.0, 0, ({"resumo": hostile, hostile: 1},))])
    assert shown.count("<script") == 1
    assert shown.count("&lt;script&gt;") == 5


def test_a_failed_run_shows_the_last_line_of_its_error_and_a_link_to_its_log():
    reason = Reason(
        "d", "manual__1+x", "mirror", 2, "airflow.sdk.exceptions.AirflowException: ClickHouse <is> away"
    )
    link = log_of("d", "manual__1+x", reason)
    assert link == "../dags/d/runs/manual__1%2Bx/tasks/mirror/mapped/2"
    shown = page([Row("manual__1+x", NOON, "failed", 1.0, 0, (), reason, link)])
    assert (
        f'<td><span class="why">ClickHouse &lt;is&gt; away</span> <a data-ui href="{link}">log</a></td>'
        in shown
    )
    # A task that was killed has left nothing.
    assert log_of("d", "r", None) == "../dags/d/runs/r"
    shown = page([Row("r", NOON, "failed", 1.0, 0, (), None, "../dags/d/runs/r")])
    assert '<td>no task has left an error: <a data-ui href="../dags/d/runs/r">log</a></td>' in shown


def test_the_events_of_single_tables_speak_only_without_one_of_the_whole():
    whole = {"resumo": "rows: venda 3", "windows": 2}
    table = {"resumo": "venda 3", "tabela": "venda", "rows": 3}
    shown = page([Row("r", NOON, "success", 1.0, 0, (table, whole))])
    assert "<td>rows: venda 3</td><td>windows 2</td>" in shown
    shown = page([Row("r", NOON, "failed", 1.0, 0, (table,))])
    assert "<td>venda 3</td><td>rows 3</td>" in shown
