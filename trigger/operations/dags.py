"""DAGs: list, describe and unpause them, and list the files that can't be imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from trigger.address import quoted
from trigger.errors import NotAllowed, NotFound
from trigger.model import Dag, ImportFailure, read_instant
from trigger.operations.base import Operations
from trigger.text import did_you_mean


class Dags(Operations):
    """The operations on DAGs."""

    def dags(
        self, *, tags: Sequence[str] = (), paused: bool | None = None, last_states: bool = False
    ) -> list[Dag]:
        """Return all DAGs by id, or those with any of the tags. `last_states` adds the state of their newest run."""
        filters: dict[str, Any] = {"tags": list(tags), "tags_match_mode": "any"} if tags else {}
        if paused is not None:
            filters["paused"] = str(paused).lower()
        filters["order_by"] = "dag_id"
        states: dict[str, str] = {}
        if last_states:
            # Four requests instead of one per DAG.
            for state in ("queued", "running", "success", "failed"):
                query = {**filters, "last_dag_run_state": state}
                states.update(
                    (dag.dag_id, state) for dag in self._wire.pages("/dags", "dags", Dag.read, query)
                )
        found = {dag.dag_id: dag for dag in self._wire.pages("/dags", "dags", Dag.read, filters)}
        found.update((dag.dag_id, dag) for dag in self._broken(filters))
        return [replace(found[dag_id], last_state=states.get(dag_id)) for dag_id in sorted(found)]

    def _broken(self, filters: Mapping[str, Any]) -> Iterator[Dag]:
        """Yield the DAGs of files that can't be imported any more, which Airflow's list does not contain."""
        broken = {"has_import_errors": "true", "exclude_stale": "false"}
        return self._wire.pages("/dags", "dags", Dag.read, {**filters, **broken})

    def dag(self, dag_id: str) -> Dag:
        """Return one DAG with its Params. Raises NotFound, with a suggestion of a similar id."""
        try:
            return self._wire.call("GET", f"/dags/{quoted(dag_id)}/details", Dag.read)
        except NotFound:
            known = [dag.dag_id for dag in self.dags()]
        if dag_id in known:
            # Airflow lists all DAGs of a new file before it has stored the definition of each.
            raise NotFound(f"DAG {dag_id!r} is new and Airflow is still reading it: try again in a moment")
        broken = []
        with suppress(NotAllowed):  # not every user may see them
            broken = self.import_failures()
        hint = did_you_mean(dag_id, known)
        if broken and not hint:
            files = ", ".join(failure.file for failure in broken[:3])
            hint = f"; {len(broken)} file(s) can't be imported ({files}): see --list --import-errors"
        raise NotFound(f"there is no DAG {dag_id!r}{hint or '; see --list'}")

    def import_failures(self) -> list[ImportFailure]:
        """Return the files that Airflow can't import."""

        def read(entry: Mapping[str, Any]) -> ImportFailure:
            return ImportFailure(
                file=entry["filename"],
                bundle=entry["bundle_name"],
                time=read_instant(entry["timestamp"]),
                error=entry["stack_trace"] or "",
                dag_ids=[],
            )

        failures = list(self._wire.pages("/importErrors", "import_errors", read, {"order_by": "id"}))
        broken = list(self._broken({"order_by": "dag_id"})) if failures else []
        return [
            replace(failure, dag_ids=[dag.dag_id for dag in broken if dag.file == failure.file])
            for failure in failures
        ]

    def unpause(self, dag_id: str) -> None:
        """Let a paused DAG run."""
        self._wire.call(
            "PATCH",
            f"/dags/{quoted(dag_id)}",
            Dag.read,
            query={"update_mask": "is_paused"},
            body={"is_paused": False},
        )
