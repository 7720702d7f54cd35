"""Runs that overlap: a run leaves other runs' reads to them, but not the reads of a run that has ended."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.mirror import claims
from include.mirror.batch import Batch
from include.mirror.declaration import Table
from include.mirror.errors import RefusedError, SourceUnavailableError
from include.mirror.ledger import identity
from include.mirror.plan import Read, Work
from include.mirror.run import check_run, move_batch
from include.mirror.window import Window
from tests.lab import Lab

Conf = Mapping[str, Any]


class Runs:
    """Runs of one mirror, by name. The runs in `live` have not ended."""

    def __init__(self, lab: Lab, **options: Any) -> None:
        self.lab = lab
        self.live: set[str] = set()
        self.asked: list[str] = []
        lab.options = replace(lab.options, **options)
        self.reached = lab.now() - timedelta(seconds=1)

    def plan(self, run: str, conf: Conf | None = None) -> list[Batch]:
        """Plan a run: of the schedule, unless it has a conf. From then on it is live."""
        interval = (self.reached, self.lab.now())
        if conf is None:
            self.reached = interval[1]
        self.asked = []
        planned = self.lab.plan(interval, conf, run_id=run, is_live=self._is_live)
        self.live.add(run)
        return planned

    def _is_live(self, run: str) -> bool:
        self.asked.append(run)
        return run in self.live

    def move(self, run: str, planned: list[Batch]) -> None:
        """Move all batches of a run, and check it."""
        self.lab.move(planned)
        self.live.remove(run)


def reads(planned: Iterable[Batch]) -> list[Work]:
    return [read for batch in planned for read in batch.reads]


def windows(planned: Iterable[Batch], tabela: str | None = None) -> list[Window]:
    return [
        read.window
        for read in reads(planned)
        if isinstance(read, Read) and not read.reread and tabela in (None, read.tabela)
    ]


def sell(lab: Lab) -> None:
    with lab.connect() as connection:
        lab.sell(connection)


def sales(lab: Lab) -> int:
    return int(lab.query("SELECT count() FROM vendas_dw.venda")[0][0])


def a_year(lab: Lab) -> Conf:
    return {"inicio": "2018-01-01T00:00:00Z", "fim": lab.now().isoformat()}


def test_what_is_new_arrives_while_a_year_is_being_read(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total, updated_at) VALUES (1, '2019-05-01'), (2, '2019-06-01')")
    runs = Runs(lab, compare_keys=1_000_000, sweep=timedelta(hours=1))
    first = runs.plan("first")
    assert {read.kind for read in reads(first)} == {"window", "sweep", "keys"}
    sell(lab)
    second = runs.plan("second")
    # Looking for deleted rows is not left to a run that may take hours.
    assert {read.kind for read in reads(second)} == {"window", "keys"}
    assert min(window.inicio for window in windows(second)) == max(window.fim for window in windows(first))
    runs.move("second", second)
    assert sales(lab) == 1
    runs.move("first", first)
    lab.assert_equal()
    third = runs.plan("third")
    assert {read.kind for read in reads(third)} == {"window", "keys"}
    assert {window.inicio for window in windows(third)} == {max(window.fim for window in windows(second))}
    assert runs.asked == ["second", "first"]
    runs.plan("fourth")
    assert runs.asked == ["third"], "those that have ended are asked for once"


def test_scans_and_copies_are_not_read_twice(lab: Lab) -> None:
    lab.mirror_only(Table("public.venda", way="scan"), Table("public.produto", way="copy"))
    runs = Runs(lab)
    first = runs.plan("first")
    assert sorted((read.kind, read.tabela) for read in reads(first)) == [
        ("copy", "produto"),
        ("scan", "venda"),
    ]
    assert not reads(runs.plan("second"))
    move_batch(lab.engine(), first[0], "first", 1)
    [done] = {read.tabela for read in first[0].reads}
    assert [read.tabela for read in reads(runs.plan("third"))] == [done], (
        "the other is still to be read by the first"
    )
    runs.live.clear()
    assert len(reads(runs.plan("fourth"))) == 2


@pytest.mark.parametrize("by", ["schedule", "range"])
def test_a_late_commit_is_read_by_one_run_of_the_schedule(lab: Lab, by: str) -> None:
    runs = Runs(lab)
    with lab.connect(autocommit=False) as writing:
        lab.sell(writing)
        runs.move("before", runs.plan("before"))
        writing.commit()
    first = runs.plan("first", a_year(lab) if by == "range" else None)
    again = [read for read in reads(first) if isinstance(read, Read) and read.reread]
    assert {read.tabela for read in again} >= {"venda", "item_venda"}
    second = [read for read in reads(runs.plan("second")) if isinstance(read, Read) and read.reread]
    # A run of a range may take hours, and these rows are late already.
    assert second == ([] if by == "schedule" else again)


def test_the_schedule_leaves_old_windows_to_a_range_and_reads_the_last_hour_itself(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total, updated_at) VALUES (1, '2019-05-01')")
    runs = Runs(lab)
    runs.move("before", runs.plan("before"))
    lab.query("TRUNCATE TABLE vendas_raw.venda")
    asked_at = lab.now()
    year = runs.plan("year", a_year(lab))
    sell(lab)
    schedule = runs.plan("schedule")
    assert windows(year, "venda")[0].inicio == datetime(2018, 1, 1, tzinfo=UTC)
    [window] = windows(schedule, "venda")
    assert timedelta(minutes=59) < asked_at - window.inicio < timedelta(minutes=61)
    runs.move("schedule", schedule)
    assert sales(lab) == 1
    runs.move("year", year)
    lab.assert_equal()


def test_what_a_run_that_has_ended_did_not_read_is_read_by_the_next(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total, updated_at) VALUES (1, '2019-05-01')")
    runs = Runs(lab)
    first = runs.plan("first")
    runs.live.remove("first")
    runs.move("second", runs.plan("second"))
    lab.assert_equal()
    # The run may still go on, because somebody has cleared its tasks.
    runs.live.add("first")
    runs.move("first", first)
    lab.assert_equal()


def test_a_run_that_plans_anew_is_not_held_up_by_itself(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total, updated_at) VALUES (1, '2019-05-01')")
    runs = Runs(lab)
    [before] = windows(runs.plan("first"), "venda")
    [again] = windows(runs.plan("first"), "venda")
    assert again.inicio == before.inicio == datetime(2019, 5, 1, tzinfo=UTC)
    [second] = windows(runs.plan("second"), "venda")
    assert second.inicio == again.fim


def test_a_claim_is_void_once_its_table_is_read_from_the_start(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total, updated_at) VALUES (1, '2019-05-01'), (2, '2019-06-01')")
    runs = Runs(lab)
    first = runs.plan("first")
    move_batch(lab.engine(), first[0], "first", 1)
    assert sales(lab) == 2
    lab.query("TRUNCATE TABLE vendas_raw.venda")
    runs.move("second", runs.plan("second"))
    lab.assert_equal()


def test_a_table_that_a_run_has_set_aside_is_not_left_to_it(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total, updated_at) VALUES (1, '2019-05-01')")
    runs = Runs(lab)
    first = runs.plan("first")
    lab.execute("ALTER TABLE venda RENAME TO venda_antiga")
    for batch in first:
        move_batch(lab.engine(), batch, "first", 1)
    lab.execute("ALTER TABLE venda_antiga RENAME TO venda")
    with pytest.raises(RefusedError, match="venda"):
        check_run(lab.engine(), first)
    runs.move("second", runs.plan("second"))
    lab.assert_equal()


def test_runs_plan_one_at_a_time(lab: Lab) -> None:
    lab.run()
    runs, begun, ended = Runs(lab), threading.Event(), threading.Event()

    def plan() -> None:
        begun.set()
        runs.plan("waiting")
        ended.set()

    waiting = threading.Thread(target=plan)
    with lab.engine().source.connect() as source:
        claims.take_planning_lock(source, "another")
        runs.plan("beside another mirror")
        claims.take_planning_lock(source, lab.declaration.label)
        waiting.start()
        begun.wait()
        with lab.engine().source.connect() as other:
            other.execute("SET lock_timeout = '50ms'")
            with pytest.raises(
                SourceUnavailableError, match="another run of the mirror vendas has been planning"
            ):
                claims.take_planning_lock(other, lab.declaration.label)
        assert not ended.is_set()
        claims.release_planning_lock(source, lab.declaration.label)
        waiting.join(30)
    waiting.join(30)
    assert ended.is_set()


def test_any_interleaving_of_runs_that_die_ends_equal(lab: Lab) -> None:
    lab.execute(
        "INSERT INTO venda (valor_total, updated_at) SELECT 1, date '2019-01-01' + n FROM generate_series(1, 40) n"
    )
    runs = Runs(lab, max_rows=10, tasks=3)
    rng = random.Random(20261126)
    left: dict[str, list[Batch]] = {}
    done: list[Batch] = []

    def begin(run: str, conf: Conf | None = None) -> None:
        planned = runs.plan(run, conf)
        if conf is None:
            mine = {identity(read) for read in reads(planned) if isinstance(read, Read)}
            others = {
                identity(read)
                for other, batches in left.items()
                if other.startswith("s")
                for read in reads(batches)
                if isinstance(read, Read)
            }
            assert not mine & others
        left[run] = planned

    def act(number: int) -> None:
        choice = rng.choice("srmmmmkkw")
        some = rng.choice(sorted(left)) if left else ""
        if choice == "s" and len(left) < 4:
            begin(f"s{number}")
        elif choice == "r" and len(left) < 4:
            begin(f"r{number}", a_year(lab))
        elif choice == "m" and some and left[some]:
            batch = left[some].pop(rng.randrange(len(left[some])))
            move_batch(lab.engine(), batch, some, 1)
            done.append(batch)
        elif choice == "k" and some:
            # The run was killed, or has done all that it had planned.
            runs.live.discard(some)
            del left[some]
        else:
            sell(lab)
            lab.execute(
                "UPDATE venda SET valor_total = valor_total + 1 WHERE venda_id %% 7 = %s", [number % 7]
            )

    for number in range(40):
        act(number)
    assert len(done) > 5
    runs.live.clear()
    runs.move("last", runs.plan("last"))
    lab.assert_equal()
