"""Rebuilds a table of the warehouse: reads all rows into a new table, and exchanges it with the old one.

docs/decisions/0022-a-table-is-rebuilt-under-a-new-name.md lists what a crash leaves after each step, and what may run at the
same time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from include.conventions.errors import TaskError
from include.conventions.heals import clickhouse_heals
from include.mirror import contract, names, telemetry
from include.mirror.errors import SchemaError, WarehouseUnavailableError
from include.mirror.ledger import Attempt, Entry
from include.mirror.move import PLACE_LOCK, Load, Mover
from include.mirror.plan import Copy, Read, Scan, Sweep, Work
from include.mirror.source.clock import clock
from include.mirror.source.session import run
from include.mirror.source.snapshot import Snapshot, snapshot
from include.mirror.warehouse import parts
from include.mirror.warehouse.client import DROP
from include.mirror.warehouse.ddl import storage_ddl, view_ddl
from include.mirror.warehouse.table import WarehouseTable, temporary_name
from include.mirror.window import Window

log = logging.getLogger(__name__)

BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
"""A time before every value of a change column. The ledger's window for a rebuilt table begins here."""

OPENING = 0.5
"""Seconds within which a query that has read a view's definition has opened the table behind it."""


@dataclass(frozen=True)
class Rebuilder(Mover):
    """A mover that rebuilds its `tables`. They are described as the mirror would create them today."""

    def move(self, works: Sequence[Work], attempt: Attempt) -> list[Entry]:
        """Rebuild each of these tables and exchange it with the old one. Return the ledger rows of the rebuilds."""
        entries = []
        for work in works:
            try:
                entries.append(self._rebuild(work, attempt))
            except TaskError as error:
                if error.heals:
                    raise
                self.set_aside(attempt, {work.tabela: str(error)})
        return entries

    @telemetry.step("rebuild")
    def _rebuild(self, work: Work, attempt: Attempt) -> Entry:
        started_at = datetime.now(UTC)
        table = self.tables[work.tabela]
        with ExitStack() as stack:
            stack.enter_context(self._locked(PLACE_LOCK, [table.spec]))
            before = self._standing(work)
            continued = self._continued(work)
            noted = self._note(continued)
            current = stack.enter_context(
                snapshot(
                    self.engine.source,
                    self.connection,
                    [table.spec],
                    self.ledger.newest_version,
                    sessions=table.spec.way == "window",
                )
            )
            self.check(current)
            self.engine.observe("snapshot", work)
            if refused := self.engine.changed(self.connection, self.client, [table], new=True):
                raise SchemaError(refused[work.tabela])
            with ExitStack() as temporary:
                new = self._create(work, attempt, current, temporary)
                loading = replace(self, tables={work.tabela: new})
                load = loading._stage(work, current, noted[1], attempt, temporary)
                if refused := self.engine.changed_types([table.spec]):
                    raise SchemaError(refused[work.tabela])
                loading._publish([load], current.version)
                standing = parts.read(self.engine.warehouse, self.client, [new.spec.name])[new.spec.name]
                entry = loading._entry(load, current, noted, attempt, started_at, standing)
                # These ledger rows do not count until the new table has the name.
                self.ledger.write(
                    [
                        entry,
                        *(
                            replace(
                                entry,
                                id=uuid4(),
                                work=one,
                                notes=self._notes(one, noted[0]),
                                rows=0,
                                money={},
                            )
                            for one in continued
                        ),
                    ]
                )
                self.engine.observe("recorded", work)
                self._exchange(work, new, load, before, temporary)
        telemetry.moved(self.engine.declaration.name, work, load.rows, load.seconds)
        return entry

    def _create(
        self, work: Work, attempt: Attempt, current: Snapshot, temporary: ExitStack
    ) -> WarehouseTable:
        """Create the new table under a temporary name. When `temporary` ends, the table with this name is dropped."""
        table = self.tables[work.tabela]
        spec = replace(table.spec, name=temporary_name(work.tabela, attempt.label))
        try:
            self.engine.warehouse.create(
                self.client, storage_ddl(spec, self.engine.warehouse.storage, current.version)
            )
        except ClickHouseError as error:
            if clickhouse_heals(error):
                raise
            raise SchemaError(
                f"ClickHouse refused what {spec.label} needs: {' '.join(str(error).split())}"
            ) from None
        temporary.callback(self._drop, spec.name)
        self.engine.observe("created", work)
        return replace(table, spec=spec, built=current.version)

    def _exchange(
        self, work: Work, new: WarehouseTable, load: Load, before: int, temporary: ExitStack
    ) -> None:
        """Exchange the new table with the old one, and drop the old one.

        If the view gets other columns, it reads from the stage during the exchange. So no query through the view finds a
        table without a column that the view names.
        """
        warehouse, spec = self.engine.warehouse, self._spec(work)
        view = contract.read(warehouse, self.client).views.get(work.tabela)
        other = contract.lacks_view(warehouse, view, spec)
        stage = load.stage.stage if load.stage and other and view else None
        if stage:
            # From here on, the view may read from the stage. So an error drops neither the stage nor the new table.
            temporary.pop_all()
            self._show(work, stage)
            self.engine.observe("bridged", work)
            time.sleep(OPENING)
        # Raises if the session is gone, and the lock with it.
        run(self.connection, "SELECT 1")
        if self._standing(work) != before:
            raise WarehouseUnavailableError(
                f"{spec.label} was built anew by another run meanwhile: run this one again"
            )
        here, there = (names.ch(warehouse.storage, name) for name in (work.tabela, new.spec.name))
        self.client.command(f"EXCHANGE TABLES {here} AND {there}")
        self.engine.observe("exchanged", work)
        if other:
            self._show(work)
        self.engine.observe("shown", work)
        if stage:
            time.sleep(OPENING)
            self._drop(stage)
            self._drop(new.spec.name)
        log.info("%s: %d rows, version %d", work, load.rows, new.built)

    def _show(self, work: Work, stage: str | None = None) -> None:
        """Replace the view that people query by one of the table, or of a stage."""
        warehouse = self.engine.warehouse
        warehouse.create(self.client, view_ddl(self._spec(work), warehouse.storage, warehouse.views, stage))

    def _drop(self, name: str) -> None:
        # Without SYNC: queries that still read from the table can finish.
        try:
            self.client.command(
                f"DROP TABLE IF EXISTS {names.ch(self.engine.warehouse.storage, name)}", settings=DROP
            )
        except Exception:
            log.warning("%s could not be dropped; a later run will", name, exc_info=True)

    def _standing(self, work: Work) -> int:
        """Return which table has the name now: the version of the snapshot that it was rebuilt from, 0 for none."""
        contents = contract.read(self.engine.warehouse, self.client)
        contract.check_replaceable(self.engine.warehouse, self._spec(work), contents)
        return contract.builds(contents).get(work.tabela, 0)

    def _continued(self, work: Work) -> list[Work]:
        """Return the reads that a rebuild counts as. The next run goes on from their ledger rows."""
        way = self._spec(work).way
        if way == "scan":
            return [Scan(work.tabela)]
        if way == "copy":
            return [Copy(work.tabela)]
        window = Window(work.tabela, BEGINNING, clock(self.connection))
        return [Read(window), Sweep(work.tabela)]
