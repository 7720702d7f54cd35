"""Sends alerts when a task fails or is retried, a run is late, or a DAG file does not load: by e-mail and to a
Slack-compatible webhook.

A channel is on if its connection exists: `smtp_alertas` (type smtp) and `slack_alertas` (type slackwebhook). The same alert
(same DAG and task, same kind, same `about` of the error) is sent once in a window. For that, an alert claims its turn: a key
in the broker's Redis, which every worker can reach and which expires by itself. Alerts never fail a task, and never delay
one for long.

A turn is claimed before sending, for three times the patience. After sending, it is kept for the whole window. A process
that dies between the two loses its alert; the next same alert is held back for three times the patience only. A process that
dies after sending, before it has kept the turn, may cause the same alert to be sent twice.
"""

from __future__ import annotations

import asyncio
import html
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from include.conventions.failures import about
from include.conventions.settings import FromEnvironment, setting, whole

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.sdk.definitions.deadline import DeadlineAlert

log = logging.getLogger(__name__)

SMTP = "smtp_alertas"
SLACK = "slack_alertas"
LONGEST_ERROR = 500


class Kind(StrEnum):
    """What an alert is about."""

    FAILURE = "failed"
    RETRY = "will be retried"
    DEADLINE = "is late"
    NOTICE = "asks for attention"
    IMPORT = "does not load"


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """Who gets alerts, and how often. Both times are in seconds."""

    recipients: tuple[str, ...] = setting(
        "ALERTAS_EMAIL_PARA",
        "",
        "e-mail addresses with commas between them",
        lambda given: tuple(address.strip() for address in given.split(",") if address.strip()),
        meaning="addresses for the e-mail, separated by commas",
    )
    window: int = whole(
        "ALERTAS_JANELA_SEGUNDOS", 3600, 1, meaning="in this time, the same alert is sent once"
    )
    patience: int = whole("ALERTAS_PACIENCIA_SEGUNDOS", 20, 1, meaning="how long sending an alert may take")


@dataclass(frozen=True)
class Alert:
    """One alert: what happened to a task, a run or a DAG file.

    An alert about a whole run has no `task` and no `attempt`. An alert about a DAG file has the file's name as `dag`, and no
    `run`. `index` is the map index of a mapped task. `about` names the subject of a notice, or of an error with an attribute
    `about`: alerts with different subjects are different alerts. `window` is the number of seconds in which the same alert
    is sent once; None for the setting's.
    """

    kind: Kind
    dag: str
    run: str
    error: str
    url: str
    task: str | None = None
    index: int | None = None
    attempt: str | None = None
    about: str | None = None
    window: int | None = None

    @property
    def subject(self) -> str:
        """The subject line: the DAG or task, and what happened to it."""
        return f"{self.dag}{f'.{self.task}' if self.task else ''} {self.kind}"

    @property
    def lines(self) -> list[str]:
        """The text, line by line."""
        if self.kind is Kind.IMPORT:
            return [f"File: {self.dag}", f"Error: {self.error}", f"DAGs: {self.url}"]
        lines = [f"DAG: {self.dag}", f"Run: {self.run}"]
        if self.task:
            index = "" if self.index is None else f"[{self.index}]"
            about = f" ({self.about})" if self.about else ""
            lines += [
                f"Task: {self.task}{index}{about}",
                f"Try: {self.attempt}",
            ]
        what = "Notice" if self.kind is Kind.NOTICE else "Error"
        return [*lines, f"{what}: {self.error}", f"Log: {self.url}"]

    @property
    def turn(self) -> str:
        """The key of the alert's turn. Alerts of all runs, and of all indexes of a mapped task, share it."""
        about = f"/{self.about}" if self.about else ""
        return f"alertas:{self.dag}:{self.task or ''}{about}:{self.kind.name.lower()}"

    @property
    def turns_of_tasks(self) -> str:
        """The Redis pattern of the turns of the DAG's tasks for the same kind of alert."""
        return f"alertas:{self.dag}:?*:{self.kind.name.lower()}"


def on_failure(context: Mapping[str, Any]) -> None:
    """Send an alert that a task failed for good: Airflow's `on_failure_callback`."""
    _alert(Kind.FAILURE, _of_task, context)


def on_retry(context: Mapping[str, Any]) -> None:
    """Send an alert that a try failed and another follows: Airflow's `on_retry_callback`."""
    _alert(Kind.RETRY, _of_task, context)


def notice(context: Mapping[str, Any], about: str, text: str, window: timedelta) -> None:
    """Send a notice: a task has found something that somebody should look at, but nothing failed.

    Notices of a task with the same `about` are sent once in `window`.
    """

    def describe(kind: Kind, context: Mapping[str, Any]) -> Alert:
        alert = _of_task(kind, {**context, "exception": text})
        return replace(alert, about=about, window=int(window.total_seconds()))

    _alert(Kind.NOTICE, describe, context)


def on_run_failure(context: Mapping[str, Any]) -> None:
    """Send an alert that a run failed, unless one of its tasks has sent one: a DAG's `on_failure_callback`.

    No callback runs for a task whose process is killed, for example because it took too much memory; its run's callback
    still does. Airflow calls this in the DAG processor.
    """
    _alert(Kind.FAILURE, _of_failed_run, context)


def on_import_error(filename: str, stacktrace: str) -> None:
    """Send an alert that a DAG file does not load: its DAGs disappear from the list, or stay as they were.

    Airflow calls this in the DAG processor each time it reads the file.
    """
    _alert(Kind.IMPORT, _of_file, {"filename": filename, "stacktrace": stacktrace})


async def on_deadline(context: Mapping[str, Any]) -> None:
    """Send an alert that a run is late. It runs in the triggerer, so it is sent even if no worker works.

    Airflow 3.3 also calls this for a run that failed in time (apache/airflow#60927). An alert was sent for it then.
    """
    if context["dag_run"]["state"] not in ("queued", "running"):
        return
    await asyncio.to_thread(_alert, Kind.DEADLINE, _of_late_run, context)


def deadline(interval: timedelta) -> DeadlineAlert:
    """Return a deadline alert for runs that are not over `interval` after they were queued."""
    from airflow.sdk.definitions.callback import AsyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=interval, callback=AsyncCallback(on_deadline)
    )


def announce_failures(dag: DAG) -> None:
    """Add `on_run_failure` to the DAG's own failure callbacks."""
    own = dag.on_failure_callback or []
    callbacks = own if isinstance(own, list) else [own]
    if on_run_failure not in callbacks:
        dag.on_failure_callback = [*callbacks, on_run_failure]
        dag.has_on_failure_callback = True


def _alert(
    kind: Kind, describe: Callable[[Kind, Mapping[str, Any]], Alert], context: Mapping[str, Any]
) -> None:
    try:
        settings = Settings.load()
        alert = describe(kind, context)
        channels = [name for name in CHANNELS if _is_defined(name)]
        if channels and _take_turn(alert, settings):
            if _send(alert, settings, channels):
                _keep_turn(alert, settings)
            else:
                _give_turn_back(alert)
    except Exception:
        log.exception("no alert was sent")


def _send(alert: Alert, settings: Settings, channels: list[str]) -> list[str]:
    """Send through all channels at the same time, and return the channels that have sent it. A slow one delays no other.

    A server may use up several timeouts, one after the other. A channel that is not done in time is left behind.
    """
    sent: list[str] = []

    def send(channel: str) -> None:
        try:
            CHANNELS[channel](alert, settings)
        except Exception:
            log.exception("the alert %r could not be sent through %s", alert.subject, channel)
        else:
            sent.append(channel)

    threads = {channel: Thread(target=send, args=(channel,), daemon=True) for channel in channels}
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + settings.patience
    for channel, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            log.error("the alert %r took %s more than %d s", alert.subject, channel, settings.patience)
    return sent


def _of_task(kind: Kind, context: Mapping[str, Any]) -> Alert:
    instance = context["ti"]
    tries = getattr(instance, "max_tries", None)
    return Alert(
        kind,
        instance.dag_id,
        instance.run_id,
        last_line(context.get("exception")),
        instance.log_url,
        task=instance.task_id,
        index=instance.map_index if instance.map_index is not None and instance.map_index >= 0 else None,
        attempt=f"{instance.try_number} of {tries + 1}"
        if isinstance(tries, int)
        else f"{instance.try_number}",
        about=about(context.get("exception")),
    )


def _of_failed_run(kind: Kind, context: Mapping[str, Any]) -> Alert:
    dag, run, reason = context["dag"].dag_id, context["run_id"], context.get("reason")
    last = context.get("ti")
    which = (
        f"task {last.task_id} ended without an error message"
        if last
        else "a task ended without an error message"
    )
    return Alert(kind, dag, run, f"{which} ({reason})", last.log_url if last else _address(dag, run))


def _of_late_run(kind: Kind, context: Mapping[str, Any]) -> Alert:
    run = context["dag_run"]
    return Alert(
        kind,
        run["dag_id"],
        run["dag_run_id"],
        f"the run should have been over by {context['deadline']['deadline_time']}, and is {run['state']}",
        _address(run["dag_id"], run["dag_run_id"]),
    )


def _of_file(kind: Kind, context: Mapping[str, Any]) -> Alert:
    name = context["filename"].rsplit("/", 1)[-1]
    return Alert(kind, name, "", last_line(context["stacktrace"]), f"{_ui()}/dags")


def _address(dag: str, run: str) -> str:
    return f"{_ui()}/dags/{dag}/runs/{quote(run)}"


def _ui() -> str:
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback="http://localhost:8080/").rstrip("/"))


def last_line(error: object) -> str:
    """Return the last line of the error's traceback, without secrets that Airflow knows."""
    from airflow.sdk.log import redact

    text = (
        "".join(traceback.format_exception_only(error))
        if isinstance(error, BaseException)
        else str(error or "")
    )
    lines = text.strip().splitlines() or ["the process ended without saying why"]
    return str(redact(lines[-1].strip()))[:LONGEST_ERROR]


def _is_defined(connection: str) -> bool:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        BaseHook.get_connection(connection)
    except AirflowNotFoundException:
        return False
    return True


def _send_mail(alert: Alert, settings: Settings) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    if not settings.recipients:
        raise ValueError(f"connection {SMTP} is defined, but ALERTAS_EMAIL_PARA is empty")
    with SmtpHook(smtp_conn_id=SMTP) as hook:
        hook.send_email_smtp(
            to=list(settings.recipients),
            subject=f"[Airflow] {alert.subject}",
            html_content="<br>\n".join(html.escape(line) for line in alert.lines),
        )


def _post(alert: Alert, settings: Settings) -> None:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    hook = SlackWebhookHook(slack_webhook_conn_id=SLACK, timeout=settings.patience, retry_handlers=[])
    # Escape Slack's three special characters: otherwise an error's text could notify everybody in the channel.
    hook.send_text(html.escape("\n".join([f"*{alert.subject}*", *alert.lines]), quote=False))


CHANNELS: dict[str, Callable[[Alert, Settings], None]] = {SMTP: _send_mail, SLACK: _post}


def _take_turn(alert: Alert, settings: Settings) -> bool:
    """Claim the alert's turn. Return False if the same alert was sent in this window; True if Redis does not answer."""
    import redis

    try:
        with _turns() as turns:
            # If a task of the DAG has sent an alert, its run needs none.
            if not alert.task and next(turns.scan_iter(alert.turns_of_tasks), None):
                return False
            first = min(3 * settings.patience, alert.window or settings.window)
            return bool(turns.set(alert.turn, alert.run, nx=True, ex=first))
    except redis.RedisError as error:
        log.warning("the broker does not say which alerts were sent already (%s); sending this one", error)
        return True


def _keep_turn(alert: Alert, settings: Settings) -> None:
    import redis

    try:
        with _turns() as turns:
            turns.set(alert.turn, alert.run, ex=alert.window or settings.window)
    except redis.RedisError as error:
        log.warning(
            "the alert was sent, but the broker could not note that (%s); it may be sent again", error
        )


def _give_turn_back(alert: Alert) -> None:
    with _turns() as turns:
        turns.delete(alert.turn)


def _turns() -> Any:
    import redis
    from airflow.sdk.configuration import conf
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        conf.get("celery", "broker_url"),
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
    )
