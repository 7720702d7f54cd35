"""The client that people import: what Airflow and the service for automations can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trigger.address import AUTOMATIONS, DEFAULT_URL, SERVICE, quoted
from trigger.errors import Conflict, NotAllowed, NotFound, RequestRefused, Transient
from trigger.model import (
    Backfill,
    BackfillPlan,
    Dag,
    Function,
    ImportFailure,
    Job,
    Module,
    Run,
    State,
    Task,
    read_instant,
)
from trigger.request import RunRequest, TaskRequest, same
from trigger.text import did_you_mean
from trigger.wire import PAGE, Wire

STATE = "estado"  # the key under which a mirror's runs hand on how each table stands


class AirflowClient:
    """Airflow's REST API v2, with retries, renewed tokens and errors that people can read.

    `url` is the address of the user interface; `token` wins over `username` and `password`. `ca` names a
    file of certificates to trust. An API that can't be reached, or answers 429, 502, 503 or 504, is tried
    again for `connect_timeout` seconds. With `cache`, tokens are kept in a file that only its owner can
    read, and `ask_password` is called where a password is needed and none was given.

    Every method raises a TriggerError: RequestRefused, NotFound, NotAllowed or ApiUnavailable. One client
    serves one thread.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca: str | Path | None = None,
        connect_timeout: float = 20.0,
        cache: bool = True,
        ask_password: Callable[[], str] | None = None,
        trace: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._wire = Wire(
            url,
            username=username,
            password=password,
            token=token,
            ca=ca,
            connect_timeout=connect_timeout,
            cache=cache,
            ask_password=ask_password,
            trace=trace,
        )
        self.url = self._wire.url
        self.username = username

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    # DAGs

    def dags(
        self, *, tags: Sequence[str] = (), paused: bool | None = None, last_states: bool = False
    ) -> list[Dag]:
        """Return all DAGs by id, those with any of the tags; `last_states` asks for their newest run's."""
        filters: dict[str, Any] = {"tags": list(tags), "tags_match_mode": "any"} if tags else {}
        if paused is not None:
            filters["paused"] = str(paused).lower()
        filters["order_by"] = "dag_id"
        states: dict[str, str] = {}
        if last_states:
            # Four short questions instead of one for each DAG.
            for state in ("queued", "running", "success", "failed"):
                query = {**filters, "last_dag_run_state": state}
                states.update(
                    (dag.dag_id, state) for dag in self._wire.pages("/dags", "dags", Dag.read, query)
                )
        found = {dag.dag_id: dag for dag in self._wire.pages("/dags", "dags", Dag.read, filters)}
        found.update((dag.dag_id, dag) for dag in self._broken(filters))
        return [replace(found[dag_id], last_state=states.get(dag_id)) for dag_id in sorted(found)]

    def _broken(self, filters: Mapping[str, Any]) -> Iterator[Dag]:
        """Yield the DAGs of files that can't be imported any more; Airflow leaves them out of its lists."""
        broken = {"has_import_errors": "true", "exclude_stale": "false"}
        return self._wire.pages("/dags", "dags", Dag.read, {**filters, **broken})

    def dag(self, dag_id: str) -> Dag:
        """Return one DAG with its Params. Raises NotFound with the id that was perhaps meant."""
        try:
            return self._wire.call("GET", f"/dags/{quoted(dag_id)}/details", Dag.read)
        except NotFound:
            known = [dag.dag_id for dag in self.dags()]
        if dag_id in known:
            # Airflow lists all DAGs of a new file before it has stored the definition of each.
            raise NotFound(f"DAG {dag_id!r} is new and Airflow is still reading it: try again in a moment")
        broken = []
        with suppress(NotAllowed):  # not everyone may see them
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

    # Runs

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        data_interval: tuple[datetime, datetime] | None = None,
        logical_date: datetime | None = None,
        run_after: datetime | None = None,
        delay: timedelta | None = None,
        note: str | None = None,
    ) -> Run:
        """Ask for a run and return it; conf is sent as it is, without a check.

        The run's id is part of the request, drawn here unless given, so that asking again, here after a lost
        answer or by the caller, finds the same run instead of making a second one. Raises RequestRefused
        when the id, or the logical date, belongs to another request's run.
        """
        request = RunRequest.make(
            dag_id,
            conf,
            run_id=run_id,
            data_interval=data_interval,
            logical_date=logical_date,
            run_after=run_after,
            delay=delay,
            note=note,
        )
        return self.send(request)

    def send(self, request: RunRequest) -> Run:
        """Ask for a run that is described already; otherwise as `trigger`."""
        dag_id = request.dag_id
        path = f"/dags/{quoted(dag_id)}/dagRuns"
        try:
            return self._wire.call("POST", path, self._read_run, body=request.body)
        except Conflict as conflict:
            try:
                existing = self.run(dag_id, request.run_id)
            except NotFound:
                date = request.body["logical_date"]
                dates = {"logical_date_gte": date, "logical_date_lte": date}
                holders = self._wire.pages(path, "dag_runs", lambda entry: repr(entry["dag_run_id"]), dates)
                raise RequestRefused(
                    f"the logical date {date} of {dag_id} belongs to {', '.join(holders) or 'another run'}, "
                    "and a DAG has one run for each: clear that run, or give this one another --logical-date"
                ) from conflict
        differing = request.differing(
            existing, self.username, lambda: [one.task for file in self.modules() for one in file.functions]
        )
        if differing:
            raise RequestRefused(
                f"run {existing.run_id!r} of {dag_id} exists already"
                f"{f', made by {existing.triggered_by}' if existing.triggered_by else ''}, "
                f"with another {' and '.join(differing)}; choose another --run-id"
            )
        return existing

    def run(self, dag_id: str, run_id: str) -> Run:
        """Return a run. Raises NotFound with the id that was perhaps meant."""
        path = f"/dags/{quoted(dag_id)}/dagRuns"
        try:
            return self._wire.call("GET", f"{path}/{quoted(run_id)}", self._read_run)
        except NotFound:
            self.dag(dag_id)  # which may be what is not there

        def read(answer: Mapping[str, Any]) -> list[str]:
            return [entry["dag_run_id"] for entry in answer["dag_runs"]]

        newest = self._wire.call("GET", path, read, query={"order_by": "-run_after", "limit": PAGE})
        hint = did_you_mean(run_id, newest) or (
            f"; its newest is {newest[0]!r}" if newest else "; it has none"
        )
        raise NotFound(f"there is no run {run_id!r} of {dag_id}{hint}")

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Return the task instances of a run in the order they began; those that have not stand last."""

        def read(entry: Mapping[str, Any]) -> Task:
            return Task(
                dag_id=dag_id,
                run_id=run_id,
                task_id=entry["task_id"],
                map_index=entry["map_index"],
                state=entry["state"] or "none",
                try_number=entry["try_number"],
                start_date=read_instant(entry["start_date"]),
                end_date=read_instant(entry["end_date"]),
                duration=entry["duration"],
            )

        path = f"/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}/taskInstances"
        # Ids grow, so that what is added between two pages stands on the last; a retry moves there too.
        found = self._wire.pages(path, "task_instances", read, {"order_by": "id"})
        tasks = {(task.task_id, task.map_index): task for task in found}.values()
        never = datetime.max.replace(tzinfo=UTC)
        return sorted(tasks, key=lambda task: (task.start_date or never, task.task_id, task.map_index))

    def log(self, task: Task, try_number: int | None = None, *, errors_last: bool = False) -> list[str]:
        """Return the lines of a task instance's log, of its newest try unless told otherwise.

        What a task printed can be stamped later than the exception that ended it: `errors_last` puts that
        where it belongs, though the lines of a log that still grows may then change their places.
        """

        def read(answer: Mapping[str, Any]) -> list[str]:
            entries = answer["content"]
            if errors_last:
                entries = sorted(
                    entries, key=lambda entry: isinstance(entry, dict) and "error_detail" in entry
                )
            return list(_log_lines(entries))

        number = task.try_number if try_number is None else try_number
        return self._wire.call(
            "GET",
            f"/dags/{quoted(task.dag_id)}/dagRuns/{quoted(task.run_id)}"
            f"/taskInstances/{quoted(task.task_id)}/logs/{number}",
            read,
            query={"map_index": task.map_index, "full_content": "true"},
        )

    def result(self, task: Task) -> Any:
        """Return what a task instance returned, as JSON knows it; None if it returned nothing."""
        path = (
            f"/dags/{quoted(task.dag_id)}/dagRuns/{quoted(task.run_id)}"
            f"/taskInstances/{quoted(task.task_id)}/xcomEntries/return_value"
        )
        try:
            return self._wire.call(
                "GET", path, lambda entry: entry["value"], query={"map_index": task.map_index}
            )
        except NotFound:
            return None

    def state(self, dag_id: str) -> State:
        """Return how each table of a mirror stands, as its newest run says.

        `dag_id` is either of its DAGs, `etl_…` or `reconciliar_…`. Raises NotFound where neither has said anything yet.
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

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float | None = None,
        interval: float = 2.0,
        progress: Callable[[Run, list[Task]], None] | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Run:
        """Return the run once it has ended, whatever its state.

        It is asked for every `interval` seconds; `progress` gets it with its tasks each time. An API that
        goes away is waited for up to five minutes, and `warn` is told. Raises WaitTimeout after `timeout`
        seconds, which leaves the run going.
        """
        seen = "of an unknown state"

        def ended() -> Run | None:
            nonlocal seen
            run = self.run(dag_id, run_id)
            if progress is not None:
                progress(run, self.tasks(dag_id, run_id))
            seen = run.state
            return run if run.finished else None

        return self._wire.until(
            ended, lambda: f"run {run_id!r} of {dag_id} is still {seen}", timeout, interval, warn
        )

    # Backfills

    def plan_backfill(
        self,
        dag_id: str,
        inicio: datetime,
        fim: datetime,
        *,
        conf: Mapping[str, Any] | None = None,
        reprocess: str = "none",
        max_active_runs: int | None = None,
        run_backwards: bool = False,
    ) -> BackfillPlan:
        """Return what a backfill of the intervals beginning in [inicio, fim) would run; create nothing."""
        # The API's range includes its end; everywhere else here it does not.
        last = fim - timedelta(microseconds=1)
        body: dict[str, Any] = {
            "dag_id": dag_id,
            "from_date": inicio.isoformat(),
            "to_date": last.isoformat(),
            "reprocess_behavior": reprocess,
            "run_backwards": run_backwards,
            "dag_run_conf": dict(conf or {}),
        }
        if max_active_runs is not None:
            body["max_active_runs"] = max_active_runs

        def read(answer: Mapping[str, Any]) -> BackfillPlan:
            dates = [read_instant(entry["logical_date"]) for entry in answer["backfills"]]
            return BackfillPlan(dag_id, inicio, last, reprocess, [date for date in dates if date], body)

        return self._wire.call("POST", "/backfills/dry_run", read, body=body)

    def start_backfill(self, plan: BackfillPlan) -> Backfill:
        """Start what was planned. Raises RequestRefused while another backfill of the DAG is active.

        A backfill has no id of ours that would make asking twice harmless: an answer that got lost is looked
        for among the backfills that are newer than the request.
        """
        newest = max((backfill.id for backfill in self._backfills(plan.dag_id)), default=-1)

        def ours() -> Backfill | None:
            for backfill in self._backfills(plan.dag_id):
                if backfill.id > newest and (backfill.from_date, backfill.to_date, backfill.reprocess) == (
                    plan.from_date,
                    plan.to_date,
                    plan.reprocess,
                ):
                    return backfill
            return None

        lost = False
        while True:
            try:
                return self._wire.call("POST", "/backfills", self._read_backfill, body=plan.body, once=True)
            except (Conflict, Transient) as error:
                again, lost = lost, lost or isinstance(error, Transient)
                # It may have been made after all, or stand in the way of the second request.
                if lost and (found := ours()) is not None:
                    return found
                if isinstance(error, Conflict):
                    raise RequestRefused(
                        f"another backfill of {plan.dag_id} is active, and a DAG has one at a time"
                    ) from error
                if again:
                    raise

    def backfill(self, backfill_id: int) -> Backfill:
        """Return a backfill."""
        try:
            return self._wire.call("GET", f"/backfills/{backfill_id}", self._read_backfill)
        except NotFound:
            raise NotFound(f"there is no backfill {backfill_id}") from None

    def backfill_runs(self, backfill: Backfill) -> list[Run]:
        """Return the runs that a backfill has created or cleared, by logical date."""
        runs = self._wire.pages(
            f"/dags/{quoted(backfill.dag_id)}/dagRuns",
            "dag_runs",
            self._read_run,
            {
                "run_type": "backfill",
                "logical_date_gte": backfill.from_date.isoformat(),
                "logical_date_lte": backfill.to_date.isoformat(),
                "order_by": "logical_date",
            },
        )
        # Earlier backfills have left their runs in the same range.
        return [run for run in runs if run.queued_at is not None and run.queued_at >= backfill.created_at]

    def wait_backfill(
        self,
        backfill: Backfill,
        *,
        timeout: float | None = None,
        interval: float = 2.0,
        progress: Callable[[list[Run]], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> list[Run]:
        """Return the runs of a backfill once Airflow has closed it; otherwise as `wait`.

        It does so within half a minute of the last run's end, and lets no other backfill begin before.
        """
        count = 0

        def ended() -> list[Run] | None:
            nonlocal count
            completed = self.backfill(backfill.id).completed_at is not None
            runs = self.backfill_runs(backfill)
            progress(runs)
            count = sum(run.finished for run in runs)
            return runs if completed else None

        return self._wire.until(
            ended,
            lambda: f"backfill {backfill.id} of {backfill.dag_id} has ended {count} runs so far",
            timeout,
            interval,
            warn,
        )

    # Automations

    def modules(self) -> list[Module]:
        """Return the automations that can be asked for."""

        def read(answer: Sequence[Mapping[str, Any]]) -> list[Module]:
            return [
                Module(
                    module=entry["module"],
                    doc=entry["doc"],
                    error=entry["error"],
                    functions=[
                        Function(**{name: one[name] for name in Function.__dataclass_fields__})
                        for one in entry["functions"]
                    ],
                )
                for entry in answer
            ]

        return self._wire.call("GET", "/modules", read, root=SERVICE)

    def enqueue(
        self,
        task: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        delay: timedelta | None = None,
        run_id: str | None = None,
        note: str | None = None,
    ) -> Run:
        """Ask for one run of an automation and return it, as `trigger` does that of a DAG.

        `task` is `module.function`, or the function alone where one module has it. Raises RequestRefused with
        the service's own words for a task, queue, delay or arguments that make no sense.
        """
        return self.send_task(
            TaskRequest.make(task, args, kwargs, queue=queue, delay=delay, run_id=run_id, note=note)
        )

    def send_task(self, request: TaskRequest) -> Run:
        """Ask for a run of an automation that is described already; otherwise as `enqueue`."""
        # The service answers a repeated request with the run that the first one made.
        run_id = self._wire.call(
            "POST", request.path, lambda answer: str(answer["run_id"]), body=request.body, root=SERVICE
        )
        return self.run(AUTOMATIONS, run_id)

    def clean_queue(self, queue: str | None = None, *, scheduled: bool = False) -> int:
        """Remove the runs of automations that wait and have not started; return how many.

        Those of all queues unless one is named; `scheduled` adds the ones that wait for their time. Where an
        answer got lost, the number leaves out what the request had removed that it belonged to.
        """
        query = {"queue": queue, "scheduled": "true" if scheduled else None}
        return self._wire.call(
            "DELETE", "/clean-queue", lambda answer: int(answer["removed"]), query=query, root=SERVICE
        )

    def jobs(self) -> list[Job]:
        """Return all jobs by name."""
        return self._wire.call(
            "GET", "/jobs", lambda answer: [Job.read(entry) for entry in answer], root=SERVICE
        )

    def job(self, name: str) -> Job:
        """Return a job. Raises NotFound with the name that was perhaps meant."""
        try:
            return self._wire.call("GET", f"/jobs/{quoted(name)}", Job.read, root=SERVICE)
        except NotFound:
            known = [job.name for job in self.jobs()]
        raise NotFound(f"there is no job {name!r}{did_you_mean(name, known) or '; see jobs list'}")

    def add_job(self, name: str, task: str, cron: str, **wish: Any) -> Job:
        """Make a job and return it; `wish` holds any of the other fields that a Job has for its maker.

        A job of this name that was made by the same request is that job. Raises RequestRefused where it was
        made by another one.
        """
        body = {"name": name, "tarefa": task, "cron": cron, **wish}
        try:
            return self._wire.call("POST", "/jobs", Job.read, body=body, root=SERVICE)
        except Conflict:
            existing = self.job(name)
        # What is left out asks for the service's default.
        defaults = {
            "args": [],
            "kwargs": {},
            "queue": "default",
            "timezone": "UTC",
            "missed": "once",
            "enabled": True,
        }
        asked = {"cron": cron, **defaults, **wish}
        differing = [field for field, value in asked.items() if not same(value, getattr(existing, field))]
        if task not in (existing.task, existing.task.rpartition(".")[2]):
            differing.insert(0, "task")
        if differing:
            raise RequestRefused(
                f"job {name!r} exists already, with another {' and '.join(differing)}; "
                "choose another name, or remove it first"
            )
        return existing

    def switch_job(self, name: str, *, enabled: bool) -> Job:
        """Pause a job, or let it go on; return it. Raises NotFound as `job` does."""
        path = f"/jobs/{quoted(name)}"
        try:
            return self._wire.call("PATCH", path, Job.read, body={"enabled": enabled}, root=SERVICE)
        except NotFound:
            self.job(name)
            raise

    def remove_job(self, name: str) -> Job:
        """Remove a job and return what it was; its runs stay."""
        job = self.job(name)
        with suppress(NotFound):  # of a request that had no answer
            self._wire.call("DELETE", f"/jobs/{quoted(name)}", lambda _: None, root=SERVICE)
        return job

    def _backfills(self, dag_id: str) -> Iterator[Backfill]:
        return self._wire.pages("/backfills", "backfills", self._read_backfill, {"dag_id": dag_id})

    def _read_run(self, entry: Mapping[str, Any]) -> Run:
        dag_id, run_id = entry["dag_id"], entry["dag_run_id"]
        return Run(
            dag_id=dag_id,
            run_id=run_id,
            state=entry["state"],
            url=f"{self.url}/dags/{quoted(dag_id)}/runs/{quoted(run_id)}",
            logical_date=read_instant(entry["logical_date"]),
            data_interval_start=read_instant(entry["data_interval_start"]),
            data_interval_end=read_instant(entry["data_interval_end"]),
            run_after=read_instant(entry["run_after"]),
            start_date=read_instant(entry["start_date"]),
            end_date=read_instant(entry["end_date"]),
            conf=entry["conf"] or {},
            note=entry["note"],
            triggered_by=entry["triggering_user_name"],
            queued_at=read_instant(entry["queued_at"]),
        )

    def _read_backfill(self, entry: Mapping[str, Any]) -> Backfill:
        return Backfill(
            id=entry["id"],
            dag_id=entry["dag_id"],
            from_date=datetime.fromisoformat(entry["from_date"]),
            to_date=datetime.fromisoformat(entry["to_date"]),
            reprocess=entry["reprocess_behavior"],
            created_at=datetime.fromisoformat(entry["created_at"]),
            completed_at=read_instant(entry["completed_at"]),
        )


def _log_lines(entries: Iterable[Any]) -> Iterator[str]:
    """Yield the lines of a log: each event, then its exceptions with the frames that are not Airflow's."""
    about_itself = False
    for entry in entries:
        if isinstance(entry, str):
            yield from entry.splitlines()
            continue
        event = str(entry.get("event", ""))
        # Marks of what the web page can fold; the first such block says where the server found the log.
        if event.startswith(("::group::", "::endgroup::")):
            about_itself = event.startswith("::group::Log message source")
            continue
        if about_itself:
            continue
        stamp = (entry.get("timestamp") or "")[11:19]
        level = str(entry.get("level") or "").upper()
        prefix = " ".join(part for part in (stamp, level) if part)
        yield from (f"{prefix} {line}".strip() for line in event.splitlines() or [""])
        for error in entry.get("error_detail") or ():
            frames = error.get("frames") or ()
            own = [frame for frame in frames if "/site-packages/airflow/" not in str(frame.get("filename"))]
            for frame in own or frames:
                yield f"  {frame.get('filename')}:{frame.get('lineno')} in {frame.get('name')}"
            yield f"{error.get('exc_type')}: {error.get('exc_value')}"
