"""Mirrors: the state of each of their tables."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from trigger.address import quoted
from trigger.errors import NotFound
from trigger.model import State
from trigger.operations.dags import Dags

STATE = "estado"  # the XCom key under which a mirror's runs store the state of each table


class Mirrors(Dags):
    """The operations on mirrors."""

    def state(self, dag_id: str) -> State:
        """Return the state of each table of a mirror, as its newest run has reported it.

        `dag_id` is one of its DAGs, `etl_…` or `reconciliar_…`. Raises NotFound if neither has reported a state yet.
        """
        self.dag(dag_id)
        mirror = dag_id.removeprefix("etl_").removeprefix("reconciliar_")

        def read_newest(answer: Mapping[str, Any]) -> list[tuple[datetime, str, str]]:
            return [
                (datetime.fromisoformat(entry["timestamp"]), entry["run_id"], entry["task_id"])
                for entry in answer["xcom_entries"]
            ]

        newest: list[tuple[datetime, str, str, str]] = []
        for name in dict.fromkeys((dag_id, f"etl_{mirror}", f"reconciliar_{mirror}")):
            path = f"/dags/{quoted(name)}/dagRuns/~/taskInstances/~/xcomEntries"
            query = {"xcom_key": STATE, "order_by": "-timestamp", "limit": 1}
            with suppress(NotFound):
                newest += [(*one, name) for one in self._wire.call("GET", path, read_newest, query=query)]
        if not newest:
            raise NotFound(
                f"{dag_id} has said nothing of the state of tables yet: it does at the end of each run"
            )
        said_at, run_id, task_id, name = max(newest)
        path = f"/dags/{quoted(name)}/dagRuns/{quoted(run_id)}/taskInstances/{quoted(task_id)}/xcomEntries/{STATE}"
        tables = self._wire.call("GET", path, lambda entry: list(entry["value"]))
        return State(name, run_id, said_at, tables)
