"""Finds the mirrors and their last runs in Airflow's own database.

A mirror's DAG `etl_<name>` emits an asset whose URI names the warehouse and whose extra names the rest. So each mirror in
`dags/` is on the page, and no list has to be kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from include.conventions import reasons
from include.conventions.reasons import Reason

SCHEME = "x-clickhouse"
MOVES, COMPARES = "etl_", "reconciliar_"
"""How the ids of a mirror's DAGs begin."""
FINISHED = ("success", "failed")


@dataclass(frozen=True)
class Place:
    """A mirror: its name, its Airflow connections, and its databases in the warehouse."""

    label: str
    source: str
    warehouse: str
    storage: str
    views: str

    @property
    def moves(self) -> str:
        """The id of the DAG that moves rows."""
        return MOVES + self.label

    @property
    def compares(self) -> str:
        """The id of the DAG that compares tables."""
        return COMPARES + self.label


@dataclass(frozen=True)
class Run:
    """The newest run of a DAG that has ended. `running` is True if another one is under way."""

    dag_id: str
    run_id: str
    state: str
    at: datetime
    running: bool = False
    paused: bool = False
    reason: Reason | None = None

    @property
    def link(self) -> str:
        """The run's address in Airflow's UI, from the page's own."""
        return f"../dags/{quote(self.dag_id, safe='')}/runs/{quote(self.run_id, safe='')}"

    @property
    def log(self) -> str:
        """The address of the failed task, or of the run."""
        return self.link if self.reason is None else f"{self.link}/{self.reason.path}"


def find() -> list[Place]:
    """Return all mirrors, in the order of their names."""
    from airflow.models.asset import AssetModel, TaskOutletAssetReference
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    wanted = (
        select(TaskOutletAssetReference.dag_id, AssetModel.uri, AssetModel.extra)
        .join(AssetModel, AssetModel.id == TaskOutletAssetReference.asset_id)
        .join(DagModel, DagModel.dag_id == TaskOutletAssetReference.dag_id)
        .where(AssetModel.uri.startswith(f"{SCHEME}://"), DagModel.is_stale.is_(False))
    )
    with create_session() as session:
        found = [place(*row) for row in session.execute(wanted)]
    return sorted({one for one in found if one}, key=lambda one: one.label)


def place(dag_id: str, uri: str, extra: Mapping[str, Any]) -> Place | None:
    """Return the mirror whose DAG emits this asset, None for an asset of something else."""
    parts = urlsplit(uri)
    views = parts.path.strip("/").partition("/")[0]
    if not (dag_id.startswith(MOVES) and views and {"source", "storage"} <= extra.keys()):
        return None
    return Place(dag_id.removeprefix(MOVES), extra["source"], parts.netloc, extra["storage"], views)


def runs(dag_ids: Collection[str]) -> dict[str, Run]:
    """Return the newest ended run of each of these DAGs that has one."""
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    found: dict[str, Run] = {}
    with create_session() as session:
        paused = {
            dag_id: is_paused
            for dag_id, is_paused in session.execute(
                select(DagModel.dag_id, DagModel.is_paused).where(DagModel.dag_id.in_(dag_ids))
            )
        }
        active = set(
            session.scalars(
                select(DagRun.dag_id).where(
                    DagRun.dag_id.in_(dag_ids),
                    DagRun.state.in_(("queued", "running")),
                    DagRun.run_after <= func.now(),
                )
            )
        )
        for dag_id in dag_ids:
            newest = session.execute(
                select(DagRun.run_id, DagRun.state, DagRun.end_date)
                .where(DagRun.dag_id == dag_id, DagRun.state.in_(FINISHED), DagRun.end_date.is_not(None))
                .order_by(DagRun.end_date.desc())
                .limit(1)
            ).one_or_none()
            if newest:
                found[dag_id] = Run(
                    dag_id,
                    newest.run_id,
                    str(newest.state),
                    newest.end_date.astimezone(UTC),
                    running=dag_id in active,
                    paused=bool(paused.get(dag_id)),
                )
    failed = [run for run in found.values() if run.state == "failed"]
    left = reasons.read([run.dag_id for run in failed], [run.run_id for run in failed])
    return found | {
        run.dag_id: replace(run, reason=known[-1])
        for run in failed
        if (known := left.get((run.dag_id, run.run_id)))
    }
