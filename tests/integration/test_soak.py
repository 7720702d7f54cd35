"""The long campaign, `make soak`: writers never pause, and the processes that move their rows are killed at random.

The simulator sells, delivers, cancels, and gives items other keys. Runs of the schedule and reconciliations go on at the
same time, and somebody damages the warehouse by hand. The processes of both are killed; PostgreSQL and ClickHouse are killed
or restarted. Deleted sales are found by a log. Deleted items are found by comparing keys, and in the second half only by
reconciliation. A reader polls all the time.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from include.mirror.ledger import Attempt
from include.mirror.reconcile import Limits, ReconcileOptions, reconcile
from include.vendas.tables import VENDAS
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from local.source.simulator import Traffic
from local.source.simulator import run as simulate
from tests.integration.mover import Movers, Running
from tests.integration.watch import Key, Watcher
from tests.lab import Lab

MINUTES = float(os.environ.get("SOAK_MINUTES", "5"))
SEED = int(os.environ.get("SOAK_SEED", "20260101"))
HISTORY = """
INSERT INTO venda (cliente_id, data, entregue, valor_total)
SELECT 1 + n % 100, date '2026-01-01', 'S', n FROM generate_series(1, 600) AS n;
INSERT INTO item_venda (venda_id, produto_id, valor_unitario, quantidade, valor_total)
SELECT venda_id, 1 + venda_id % 20, 1, 1, venda_id FROM venda, generate_series(1, 2);
"""
"""Delivered sales. Nobody in the source changes them again."""

KEYS = {"venda": "venda_id", "item_venda": "item_id", "cliente": "cliente_id"}
COLUMNS = {
    "venda": "venda_id, cliente_id, data, entregue, valor_total, created_at, updated_at, version",
    "item_venda": (
        "item_id, venda_id, produto_id, valor_unitario, quantidade, valor_total, created_at, updated_at, version"
    ),
}
TRAFFIC = Traffic(
    rate=25,
    hold=(0.5, 6.0),
    late=0.1,
    read_first=0.1,
    savepoints=0.05,
    prepared=0.05,
    late_deliveries=0.1,
    cancellations=0.2,
    late_cancellations=0.05,
    key_changes=0.2,
)


@dataclass
class Damage:
    """Damage of a warehouse table by hand that no complete reconciliation has repaired yet."""

    keys: set[Key] = field(default_factory=set)
    lost: bool = False
    """Whether a part of the table was dropped."""


@dataclass
class Soak:
    """One long campaign: its writers and processes, and the state that the tests know."""

    lab: Lab
    history: Mapping[str, Mapping[Key, int]]
    rng: random.Random
    watcher: Watcher = field(init=False)
    damage: dict[str, Damage] = field(default_factory=lambda: {table: Damage() for table in KEYS})
    repaired: dict[str, Damage] = field(default_factory=dict)
    """The damage that the reconciliation under way has to repair."""
    happened: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    may_fail: bool = False
    """Whether a server was restarted, or a part of a table dropped, during the reconciliation under way."""
    label: str = ""
    turn: int = 0

    def __post_init__(self) -> None:
        queries = {
            "venda": "SELECT venda_id, toInt64(valor_total * 100) FROM vendas_dw.venda",
            "item_venda": "SELECT item_id, toInt64(valor_total * 100) FROM vendas_dw.item_venda",
            "cliente": "SELECT cliente_id, 0 FROM vendas_dw.cliente",
        }
        self.watcher = Watcher(self.lab.clickhouse, queries, self.vanished, pause=0.2)

    def vanished(self, table: str, keys: set[Key]) -> set[Key]:
        """Return the keys among these that are still in the source and were not damaged: only deleted rows may disappear."""
        if self.damage[table].lost or (table in self.repaired and self.repaired[table].lost):
            return set()
        query = f"SELECT {KEYS[table]} FROM {table} WHERE {KEYS[table]} = ANY(%s)"
        deadline = time.monotonic() + 60
        while True:
            try:
                with self.lab.connect() as connection:
                    there = set(connection.execute(query.encode(), [[key for (key,) in keys]]).fetchall())
                break
            except psycopg.OperationalError:
                # The server is being restarted.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        damaged = self.damage[table].keys | self.repaired.get(table, Damage()).keys
        return there - damaged

    @property
    def in_peace(self) -> bool:
        """Return whether the reconciliation under way may end: during every other one, no process or server is killed."""
        return self.turn % 2 == 1

    # Damage by hand.

    def damage_rows(self, table: str) -> None:
        """Alter, remove and add rows with their old versions."""
        columns, name = COLUMNS[table], KEYS[table]
        chosen = self.rng.sample(sorted(self.history[table]), 4)
        added = [(900_000_000 + self.rng.randrange(10_000_000),) for _ in range(2)]
        self.damage[table].keys |= {*chosen, *added}
        self.watcher.touch(table, chosen)
        source = f"FROM vendas_raw.{table} FINAL WHERE {name}"
        into = f"INSERT INTO vendas_raw.{table} ({columns}, is_deleted)"
        altered, removed = (", ".join(str(key) for (key,) in keys) for keys in (chosen[:2], chosen[2:]))
        client = self.lab.clickhouse.client()
        client.command(
            f"{into} SELECT {columns.replace('valor_total', 'toDecimal32(-1, 2)')}, 0 {source} IN ({altered})"
        )
        client.command(f"{into} SELECT {columns}, 1 {source} IN ({removed})")
        for (key,) in added:
            client.command(f"{into} SELECT {columns.replace(name, str(key), 1)}, 0 {source} = {chosen[0][0]}")
        client.close()
        self.happened["rows damaged by hand"] += 6

    def drop_partition(self) -> None:
        table = self.rng.choice(list(COLUMNS))
        self.damage[table].lost = True
        self.may_fail = True
        self.watcher.touch(table, self.history[table])
        client = self.lab.clickhouse.client()
        client.command(f"ALTER TABLE vendas_raw.{table} DROP PARTITION ID '0'")
        client.close()
        self.happened["partition dropped by hand"] += 1

    # Reconciliation.

    def start(self, movers: Movers) -> Running:
        """Start a reconciliation of the next table. It has to repair all damage done until now."""
        self.turn += 1
        table = list(KEYS)[self.turn % len(KEYS)]
        if self.in_peace and table in COLUMNS:
            self.damage_rows(table)
        self.repaired, self.damage = self.damage, {table: Damage() for table in KEYS}
        self.may_fail, self.label = False, f"reconciles__{uuid4().hex}"
        return movers.start(self.lab, tables=(table,), schedule=False, label=self.label)

    def end(self, code: int, *, killed: bool) -> None:
        """Check how the reconciliation ended. A report of more wrong rows than there are is a false alarm."""
        assert code in ((0, -9) if killed else (0, 1) if self.may_fail else (0,)), f"exit code {code}"
        self.happened[{0: "reconciled", 1: "reconciliation failed", -9: "reconciliation killed"}[code]] += 1
        reports = self.lab.query(
            "SELECT tabela, word, missing + extra + different, deleted, repaired, reason, samples"
            " FROM vendas_dw.reconciliacoes WHERE run_id = {label:String}",
            label=self.label,
        )
        words = {}
        for table, word, wrong, deleted, repaired, reason, samples in reports:
            before, since = self.repaired[table], self.damage[table]
            most = len(before.keys | since.keys)
            what = f"{table}: {word}, {wrong} wrong of {most}, {reason} {samples}"
            if not (before.lost or since.lost):
                assert wrong <= most, what
                assert word != "differs" or since.keys, what
            words[table] = word
            self.found[word] += 1
            self.found["wrong rows"] += wrong
            self.found["deleted rows"] += deleted
            self.found["repaired rows"] += repaired
        for table, before in self.repaired.items():
            since = self.damage[table]
            if words.get(table) not in ("equal", "repaired"):
                since.keys |= before.keys
                since.lost |= before.lost
            elif not since.lost:
                rows = self.history[table]
                back = rows if before.lost else {key: rows[key] for key in before.keys & rows.keys()}
                self.watcher.restore(
                    table, {key: value for key, value in back.items() if key not in since.keys}
                )
        self.repaired = {}
        self.watcher.check()


def prepare(lab: Lab) -> Mapping[str, Mapping[Key, int]]:
    """Fill the source with delivered sales, give sales a log, and load everything. Return the rows that never change."""
    lab.execute(HISTORY)
    lab.execute(lab.delete_log("public.venda"))
    declare(lab, items="keys")
    lab.run()
    with lab.connect() as connection:
        return {
            table: {
                (key,): value
                for key, value in connection.execute(f"SELECT {name}, {what} FROM {table}".encode())
            }
            for (table, name), what in zip(
                KEYS.items(),
                ("(valor_total * 100)::bigint", "(valor_total * 100)::bigint", "0"),
                strict=True,
            )
        }


def declare(lab: Lab, items: str | None) -> None:
    """Mirror the sales system. `items` is how deleted items are found, None for reconciliation."""
    deletes = {"venda": "log", "item_venda": items}
    lab.declaration = replace(
        lab.declaration,
        tables=[replace(table, deletes=deletes.get(table.name)) for table in VENDAS.declared],
    )


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 600)
def test_random_kills_for_minutes_lose_and_double_nothing(
    busy_lab: Lab, postgres: Postgres, clickhouse: ClickHouse
) -> None:
    lab, stop = busy_lab, threading.Event()
    soak = Soak(lab, prepare(lab), random.Random(SEED))
    rng, watcher, happened = soak.rng, soak.watcher, soak.happened
    for table, rows in soak.history.items():
        watcher.settle(table, rows, all_known=False)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool, Movers() as movers, Movers() as reconcilers, watcher:
        writing = pool.submit(simulate, lab.dsn, TRAFFIC, seed=3, stop=stop)
        try:
            reconciling: Running | None = None
            while (passed := time.monotonic() - began) < MINUTES * 60:
                declare(lab, items="keys" if passed < MINUTES * 30 else None)
                reconciling = reconciling or soak.start(reconcilers)
                event = rng.choices(
                    ["finishes", "killed", "clickhouse killed", "postgres restarted"],
                    [5, 8, *((0, 0) if soak.in_peace else (2, 1))],
                )[0]
                moving = movers.start(lab)
                if event != "finishes":
                    time.sleep(rng.uniform(0.1, 3.0))
                if event == "killed":
                    moving.kill()
                elif event == "clickhouse killed":
                    soak.may_fail = True
                    watcher.excused.set()
                    clickhouse.kill()
                    clickhouse.start()
                elif event == "postgres restarted":
                    soak.may_fail = True
                    postgres.restart()
                code = moving.wait()
                assert event != "finishes" or code == 0, f"exit code {code}"
                happened[event] += 1
                watcher.excused.clear()
                if killed := not (soak.in_peace or reconciling.has_ended) and rng.random() < 0.2:
                    reconciling.kill()
                if killed or reconciling.has_ended:
                    soak.end(reconciling.wait(), killed=killed)
                    reconciling = None
                if (hand := rng.random()) < 0.05 and not soak.in_peace:
                    soak.drop_partition()
                elif hand < 0.3:
                    soak.damage_rows(rng.choice(list(COLUMNS)))
                watcher.check()
                assert not writing.done(), writing.result()
        finally:
            stop.set()
        written = writing.result()
        if reconciling is not None:
            reconciling.kill()
            soak.end(reconciling.wait(), killed=True)
        for _ in range(3):
            lab.run()

        def wait() -> None:
            lab.run()

        for table in lab.tables:
            last = reconcile(
                lab.engine(),
                table,
                ReconcileOptions(confirmed=True),
                Attempt(uuid4(), "last", 1),
                Limits(share=1, patience=timedelta(seconds=60)),
                wait=wait,
            )
            assert last.word in ("equal", "repaired"), last
            left = soak.damage.get(table, Damage())
            assert left.lost or last.wrong <= len(left.keys), last
    ledger = lab.query("SELECT kind, count(), sum(rows) FROM vendas_dw.cargas GROUP BY kind ORDER BY kind")
    print(
        f"\n{dict(happened)}\nreports: {dict(soak.found)}\n{written}\nledger: {ledger}\n"
        f"sales: {lab.query('SELECT count() FROM vendas_dw.venda')[0][0]}, polls: {watcher.polls}"
    )
    lab.assert_equal()
    assert soak.found["repaired"], f"no reconciliation came to repair anything: {dict(soak.found)}"
