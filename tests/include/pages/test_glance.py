"""The page At a glance: a row for each run, and nothing that was found is taken for markup."""

from __future__ import annotations

from datetime import UTC, datetime

from include.pages.glance import Row, last_words, page

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
    assert last_words(events) == {"r1": (again, b), "r2": (other,)}


def test_the_column_of_tries_says_what_it_counts():
    # A run that was cleared was tried again by a person.
    assert '<th class="number">task tries above the first</th>' in page([])


def test_what_was_found_is_text():
    hostile = '"><script>alert(1)</script>'
    shown = page([Row(hostile, NOON, hostile, 1.0, 0, ({"resumo": hostile, hostile: 1},))])
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 5


def test_without_a_run_it_says_so():
    assert "no run yet" in page([])
