"""Alerts of the running deployment, to a real mail server and a real webhook on loopback."""

from __future__ import annotations

import psycopg
import pytest

from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from tests.e2e.conftest import DAG_ID
from tests.e2e.runs import PATIENCE, broker, ended, until
from tests.receivers import TOKEN, Mailbox, Webhook


@pytest.fixture
def receivers(
    deployment: Deployment, api: AirflowApi, mailbox: Mailbox, webhook: Webhook
) -> tuple[Mailbox, Webhook]:
    """Both receivers, empty, at the beginning of a new window. No earlier failure is still being retried."""
    for dag in ("stubborn", "killed"):
        api.unpause(dag, PATIENCE, deployment.supervisor.check)
    with broker(deployment) as turns:
        for turn in turns.scan_iter("alertas:*"):
            turns.delete(turn)
    mailbox.messages.clear()
    webhook.posts.clear()
    return mailbox, webhook


def about(texts: list[str], what: str) -> list[str]:
    return [text for text in texts if what in text.splitlines()[0]]


def test_a_task_that_fails_for_good_is_alerted_once_in_a_window(deployment, api, receivers):
    mailbox, webhook = receivers
    first, second = (api.trigger("stubborn", {"failures": 9}) for _ in range(2))
    for run in (first, second):
        assert ended(deployment, api, "stubborn", run).state == "failed"
    until(deployment, lambda: about(webhook.texts(), "failed") and about(mailbox.texts(), "failed"))
    for texts in (webhook.texts(), mailbox.texts()):
        [retried] = about(texts, "stubborn.attempt will be retried")
        [failed] = about(texts, "stubborn.attempt failed")
        assert "Try: 1 of 3" in retried
        assert "Try: 3 of 3" in failed
        for text in (retried, failed):
            assert "DAG: stubborn" in text
            assert f"Run: {first}" in text or f"Run: {second}" in text
            assert "Error: no way in with &lt;***&gt;" in text
            assert f"Log: {deployment.settings.url}/dags/stubborn/runs/" in text
    assert {path for path, _ in webhook.posts} == {f"/{TOKEN}"}
    assert {message["To"] for message in mailbox.messages} == {"operacao@example.com, plantao@example.com"}


def test_a_run_that_falls_behind_is_alerted(deployment, api, receivers, schedule):
    mailbox, webhook = receivers
    deployment.start_airflow("triggerer")
    try:
        # An ALTER TABLE locks the mirror out; the run retries, and is late meanwhile.
        with psycopg.connect(deployment.settings.source_dsn) as source:
            source.execute("LOCK TABLE venda IN ACCESS EXCLUSIVE MODE")
            until(deployment, lambda: about(webhook.texts(), "late") and about(mailbox.texts(), "late"))
    finally:
        deployment.supervisor.stop(
            *(server for server in deployment.supervisor.servers if server.name == "triggerer")
        )
    for texts in (webhook.texts(), mailbox.texts()):
        [late] = about(texts, f"{DAG_ID} is late")
        assert f"DAG: {DAG_ID}" in late
        assert "Run: scheduled__" in late
        assert "Error: the run should have been over by " in late
        assert f"Log: {deployment.settings.url}/dags/{DAG_ID}/runs/scheduled__" in late


def test_a_task_that_is_killed_is_alerted_by_its_run(deployment, api, receivers):
    mailbox, webhook = receivers
    spoken = api.trigger("stubborn", {"failures": 9})
    assert ended(deployment, api, "stubborn", spoken).state == "failed"
    until(deployment, lambda: about(webhook.texts(), "stubborn.attempt failed"))
    killed = api.trigger("killed", {})
    assert ended(deployment, api, "killed", killed).state == "failed"
    until(
        deployment,
        lambda: about(webhook.texts(), "killed failed") and about(mailbox.texts(), "killed failed"),
    )
    [text] = about(webhook.texts(), "killed failed")
    assert f"Run: {killed}" in text
    assert "Error: task grow ended without an error message" in text
    # The other run, which failed earlier, has sent its alert already, from its task.
    assert about(webhook.texts(), "stubborn failed") == []
