"""Send mail through the server of Airflow's connection `smtp_default`."""

from __future__ import annotations

import html
from typing import Any

from include.tarefas import tarefa
from include.tarefas.errors import RequestError

SMTP = "smtp_default"


@tarefa
def send_email(email: str, message: str, subject: str = "A message from Airflow") -> dict[str, str]:
    """Send a text to one address, at least once: as plain text, and as HTML that looks the same.

    If the connection breaks after the server has accepted the mail but before it answers, the retry sends the mail again.
    An invalid address or subject fails without retries, and so does an address that the server refuses for good (5xx).
    """
    from email.mime.multipart import MIMEMultipart
    from email.mime.text import MIMEText
    from smtplib import SMTPRecipientsRefused

    from airflow.providers.smtp.hooks.smtp import SmtpHook

    recipient = _address(email)
    # A line break would begin another header.
    if not subject.isprintable():
        raise RequestError(f"subject {subject!r} must be one line of text")

    class BothForms(SmtpHook):
        def _build_mime_message(self, *args: Any, **kwargs: Any) -> tuple[MIMEMultipart, list[str]]:
            # The hook itself knows HTML alone. The last form is the one that a mail reader prefers.
            mail, recipients = super()._build_mime_message(*args, **kwargs)
            mail.set_payload([MIMEText(message, "plain", "utf-8"), *mail.get_payload()])
            return mail, recipients

    with BothForms(smtp_conn_id=SMTP) as hook:
        try:
            hook.send_email_smtp(
                to=[recipient], subject=subject, html_content=_as_html(message), mime_subtype="alternative"
            )
        except SMTPRecipientsRefused as error:
            [(code, reason)] = error.recipients.values()
            if code < 500:  # the server may accept it later
                raise
            raise RequestError(
                f"the mail server refuses {recipient}: {code} {reason.decode(errors='replace')}"
            ) from None
    print(f"sent to {recipient}")  # noqa: T201
    return {"email": recipient, "subject": subject}


def _address(email: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    try:
        # Without a DNS query, and without SMTPUTF8, which some servers do not support.
        checked = validate_email(
            email, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False
        )
    except EmailNotValidError as error:
        raise RequestError(
            f"email {email!r} is not an address: {error} Write it as ana@example.com"
        ) from None
    return str(checked.ascii_email)


def _as_html(message: str) -> str:
    """Return HTML that shows the text unchanged: its markup is escaped."""
    return f'<div style="white-space: pre-wrap">{html.escape(message)}</div>'
