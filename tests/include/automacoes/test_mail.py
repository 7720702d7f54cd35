"""send_email, over SMTP to a server that takes the mail, refuses it, or is away."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator

import pytest

from include.automacoes.mail import send_email
from include.tarefas.errors import RequestError
from local.servers.server import free_port
from tests.receivers import Mailbox


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with Mailbox() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(server.connection))
        yield server


def test_a_text_arrives_as_it_is(server: Mailbox) -> None:
    text = "Olá, <b>João</b>!\n\n1 < 2 & 3"
    assert send_email("joao@example.com", text, subject="Relatório diário") == {
        "email": "joao@example.com",
        "subject": "Relatório diário",
    }
    [message] = server.messages
    assert message["To"] == "joao@example.com"
    assert message["From"] == "airflow@example.com"
    assert message["Subject"] == "Relatório diário"
    assert message.get_content_type() == "multipart/alternative"
    plain, _html = message.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert plain.get_content().replace("\r\n", "\n").rstrip("\n") == text
    assert "Olá, &lt;b&gt;João&lt;/b&gt;!\n\n1 &lt; 2 &amp; 3" in server.texts()[0].replace("\r\n", "\n")


@pytest.mark.parametrize(
    "email",
    [
        *("", "ana", "ana@", "@example.com", "ana@example.com, eve@example.com", "Ana <ana@example.com>"),
        *(
            "ana@example.com\nBcc: eve@example.com",
            "ana@example.com\r\n",
            "ana@exa mple.com",
            "josé@example.com",
        ),
    ],
)
def test_an_address_that_is_none_is_refused(server: Mailbox, email: str) -> None:
    with pytest.raises(RequestError, match=r"is not an address: .*Write it as ana@example\.com"):
        send_email(email, "x")
    assert server.messages == []


@pytest.mark.parametrize("subject", ["a\nBcc: eve@example.com", "a\rb", "a\x00b", "a\u2028b"])
def test_no_header_can_be_slipped_in(server: Mailbox, subject: str) -> None:
    with pytest.raises(RequestError, match="must be one line of text"):
        send_email("ana@example.com", "x", subject=subject)
    assert server.messages == []


@pytest.mark.parametrize(
    ("answer", "error"), [("550 no such user", RequestError), ("450 busy", smtplib.SMTPRecipientsRefused)]
)
def test_a_refusal_for_good_is_not_tried_again(
    server: Mailbox, monkeypatch: pytest.MonkeyPatch, answer: str, error: type[Exception]
) -> None:
    async def refuse(*_: object) -> str:
        return answer

    monkeypatch.setattr(server, "handle_RCPT", refuse, raising=False)
    with pytest.raises(error, match=answer[4:]):
        send_email("ana@example.com", "x")


def test_a_server_that_is_away_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    away = {"conn_type": "smtp", "host": "127.0.0.1", "port": free_port(), "extra": {"disable_ssl": True}}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(away))
    with pytest.raises(OSError, match="refused"):
        send_email("ana@example.com", "x")
