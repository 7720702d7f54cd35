"""Who hears of it when a task fails, is retried, a run is late, or a DAG file does not load: e-mail and a
Slack-compatible webhook.

A channel is on when its connection exists: `smtp_alertas` (type smtp) and `slack_alertas` (type slackwebhook). The
same thing (a DAG's task, a kind of alert, and what the error says it is about) is told once in a window; the turns are
kept in the broker's Redis, which every worker can reach and which forgets them by itself. Nothing here ever fails a
task, or holds one up for long.

A turn is taken for three times the patience before anything is sent, and kept for the window once it was told. A process
that dies between the two loses its own word, and not the next one's for a whole window; one that dies after sending,
and before it kept the turn, lets the same be told twice.
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
    """Who is told, and how often; both times in seconds."""

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
    """What happened. What is about a whole run has no `task` and no `attempt`; `index` is that of a mapped task. What is
    about a DAG file has its name as `dag`, and no `run`.

    `about` is what a notice, or an error by an attribute of that name, says that it is about: another thing is another
    alert. `window` is how many seconds it is told once in, the setting's when None.
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
        """Return one line: what, and what happened to it."""
        return f"{self.dag}{f'.{self.task}' if self.task else ''} {self.kind}"

    @property
    def lines(self) -> list[str]:
        """Return the rest, a line for each thing."""
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
        """Return what is told once in a window: not the run, nor the index of a mapped task."""
        about = f"/{self.about}" if self.about else ""
        return f"alertas:{self.dag}:{self.task or ''}{about}:{self.kind.name.lower()}"

    @property
    def turns_of_tasks(self) -> str:
        """Return Redis' pattern of the turns that tasks of the DAG took for the same kind."""
        return f"alertas:{self.dag}:?*:{self.kind.name.lower()}"


def on_failure(context: Mapping[str, Any]) -> None:
    """Tell that a task failed for good: Airflow's `on_failure_callback`."""
    _tell(Kind.FAILURE, _of_task, context)


def on_retry(context: Mapping[str, Any]) -> None:
    """Tell that a try failed and another follows: Airflow's `on_retry_callback`."""
    _tell(Kind.RETRY, _of_task, context)


def notice(context: Mapping[str, Any], about: str, text: str, window: timedelta) -> None:
    """Tell something that a task found and that somebody should look at, though nothing failed.

    The same `about` of a task is told once in `window`, however often it is found again.
    """

    def describe(kind: Kind, context: Mapping[str, Any]) -> Alert:
        alert = _of_task(kind, {**context, "exception": text})
        return replace(alert, about=about, window=int(window.total_seconds()))

    _tell(Kind.NOTICE, describe, context)


def on_run_failure(context: Mapping[str, Any]) -> None:
    """Tell that a run failed, unless its tasks told already: a DAG's `on_failure_callback`.

    A task whose process is killed, as for taking too much memory, has no last word; its run still has. Airflow calls
    this in the DAG processor.
    """
    _tell(Kind.FAILURE, _of_failed_run, context)


def on_import_error(filename: str, stacktrace: str) -> None:
    """Tell that a DAG file does not load: its DAGs are gone from the list, or stay as they were.

    Airflow calls this in the DAG processor each time that it reads the file.
    """
    _tell(Kind.IMPORT, _of_file, {"filename": filename, "stacktrace": stacktrace})


async def on_deadline(context: Mapping[str, Any]) -> None:
    """Tell that a run is late. Runs in the triggerer, so that it is heard when no worker works.

    Airflow 3.3 calls this for a run that failed in time as well (apache/airflow#60927), which was told of then.
    """
    if context["dag_run"]["state"] not in ("queued", "running"):
        return
    await asyncio.to_thread(_tell, Kind.DEADLINE, _of_late_run, context)


def deadline(interval: timedelta) -> DeadlineAlert:
    """Return what makes a run late: not over `interval` after it was queued."""
    from airflow.sdk.definitions.callback import AsyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=interval, callback=AsyncCallback(on_deadline)
    )


def announce_failures(dag: DAG) -> None:
    """Let the DAG tell when a run fails, besides what it does then by itself."""
    own = dag.on_failure_callback or []
    callbacks = own if isinstance(own, list) else [own]
    if on_run_failure not in callbacks:
        dag.on_failure_callback = [*callbacks, on_run_failure]
        dag.has_on_failure_callback = True


def _tell(
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
    """Send through all channels at once, and return those that did; a slow one holds up no other.

    A server may take every timeout there is, one after the other. Who is not done in time is left alone.
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
        _last_line(context.get("exception")),
        instance.log_url,
        task=instance.task_id,
        index=instance.map_index if instance.map_index is not None and instance.map_index >= 0 else None,
        attempt=f"{instance.try_number} of {tries + 1}"
        if isinstance(tries, int)
        else f"{instance.try_number}",
        about=getattr(context.get("exception"), "about", None),
    )


def _of_failed_run(kind: Kind, context: Mapping[str, Any]) -> Alert:
    dag, run, reason = context["dag"].dag_id, context["run_id"], context.get("reason")
    last = context.get("ti")
    which = f"task {last.task_id} ended without a word" if last else "a task ended without a word"
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
    return Alert(kind, name, "", _last_line(context["stacktrace"]), f"{_ui()}/dags")


def _address(dag: str, run: str) -> str:
    return f"{_ui()}/dags/{dag}/runs/{quote(run)}"


def _ui() -> str:
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback="http://localhost:8080/").rstrip("/"))


def _last_line(error: object) -> str:
    """Return the last line that a traceback would show, without secrets that Airflow knows."""
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
        raise ValueError(f"connection {SMTP} is there, but ALERTAS_EMAIL_PARA names nobody")
    with SmtpHook(smtp_conn_id=SMTP) as hook:
        hook.send_email_smtp(
            to=list(settings.recipients),
            subject=f"[Airflow] {alert.subject}",
            html_content="<br>\n".join(html.escape(line) for line in alert.lines),
        )


def _post(alert: Alert, settings: Settings) -> None:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    hook = SlackWebhookHook(slack_webhook_conn_id=SLACK, timeout=settings.patience, retry_handlers=[])
    # Slack's three special characters: an error could otherwise call everybody in the channel.
    hook.send_text(html.escape("\n".join([f"*{alert.subject}*", *alert.lines]), quote=False))


CHANNELS: dict[str, Callable[[Alert, Settings], None]] = {SMTP: _send_mail, SLACK: _post}


def _take_turn(alert: Alert, settings: Settings) -> bool:
    """Return whether this alert was not told in this window yet; True as well when nobody can say."""
    import redis

    try:
        with _turns() as turns:
            # What a task told needs not be told of its run as well.
            if not alert.task and next(turns.scan_iter(alert.turns_of_tasks), None):
                return False
            first = min(3 * settings.patience, alert.window or settings.window)
            return bool(turns.set(alert.turn, alert.run, nx=True, ex=first))
    except redis.RedisError as error:
        log.warning("the broker does not say what was told already (%s); telling it", error)
        return True


def _keep_turn(alert: Alert, settings: Settings) -> None:
    import redis

    try:
        with _turns() as turns:
            turns.set(alert.turn, alert.run, ex=alert.window or settings.window)
    except redis.RedisError as error:
        log.warning("it was told, and the broker does not keep that (%s); it may be told again", error)


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
