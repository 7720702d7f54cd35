"""Small windows that update old rows leave few overlapping parts behind, so that views stay quick to read."""

from __future__ import annotations

import pytest

from include.mirror.declaration import Table
from include.mirror.warehouse import merges
from tests.lab import Lab

# Nothing is merged but by the mirror.
LEFT_ALONE = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """A table in three partitions, of which ClickHouse itself merges nothing."""
    lab.execute(
        "CREATE TABLE coisa (id int PRIMARY KEY, nota text, updated_at timestamptz NOT NULL DEFAULT now())"
    )
    lab.execute(
        "CREATE INDEX ON coisa (updated_at); INSERT INTO coisa SELECT n, n FROM generate_series(1, 2999) AS n"
    )
    lab.mirror_only(Table("coisa", change_column="updated_at", partition_width=1000))
    lab.run()
    client = lab.clickhouse.client()
    client.command(f"ALTER TABLE vendas_raw.coisa MODIFY SETTING {LEFT_ALONE}")
    client.close()
    return lab


def parts(lab: Lab) -> list[int]:
    """Return how many parts each partition has."""
    return [
        count
        for (count,) in lab.query(
            "SELECT count() FROM system.parts WHERE active AND database = 'vendas_raw' AND table = 'coisa'"
            " GROUP BY partition_id ORDER BY partition_id"
        )
    ]


def window(lab: Lab, number: int) -> None:
    """Update some old rows of two partitions, and make a run."""
    lab.execute(
        f"UPDATE coisa SET nota = '{number}', updated_at = clock_timestamp() WHERE id % 100 = {number} AND id < 2000"
    )
    lab.run()


def test_parts_that_overlap_are_few_however_many_windows_arrive(filled: Lab) -> None:
    lab, most = filled, list[int]()
    for number in range(2 * merges.MOST + 2):
        window(lab, number)
        most.append(max(parts(lab)))
    assert max(most) == merges.MOST
    assert most.count(1) == 2
    assert parts(lab)[2] == 1
    lab.assert_equal()
    # For the next run, nothing is gone.
    assert lab.run() == {"coisa": 0}


def test_large_partitions_are_merged_as_often_as_the_rate_allows(
    filled: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = filled
    monkeypatch.setattr(merges, "SMALL", 500)
    monkeypatch.setattr(merges, "RATE", 10**9)
    for number in range(2):
        window(lab, number)
        assert parts(lab) == [1, 1, 1]
    monkeypatch.setattr(merges, "RATE", 0)
    window(lab, 2)
    assert parts(lab) == [2, 2, 1]
    # After a load they are merged anyway.
    lab.execute("UPDATE coisa SET updated_at = clock_timestamp() WHERE id < 200")
    lab.run()
    assert parts(lab) == [1, 2, 1]
    # And later in a run that moves nothing.
    monkeypatch.setattr(merges, "RATE", 10**9)
    assert lab.run() == {"coisa": 0}
    assert parts(lab) == [1, 1, 1]
    # Not those that take too long.
    monkeypatch.setattr(merges, "LARGEST", 500)
    for number in range(merges.MOST + 1):
        window(lab, number)
    assert parts(lab) == [merges.MOST + 2, merges.MOST + 2, 1]
    lab.assert_equal()


def test_a_merge_that_is_refused_fails_no_run(filled: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab = filled
    client = lab.clickhouse.client()
    client.command("SYSTEM STOP MERGES vendas_raw.coisa")
    for number in range(merges.MOST):
        window(lab, number)
    assert caplog.text.count("of coisa could not be merged") == 2
    client.command("SYSTEM START MERGES vendas_raw.coisa")
    client.close()
    lab.run()
    assert parts(lab) == [1, 1, 1]
    lab.assert_equal()
