"""Mail, through the server of Airflow's connection `smtp_default`."""

from __future__ import annotations

import html

from include.tarefas import tarefa
from include.tarefas.errors import RequestError

SMTP = "smtp_default"


@tarefa
def send_email(email: str, message: str, subject: str = "A message from Airflow") -> dict[str, str]:
    """Send a plain text to one address.

    At least once: when the connection breaks after the server took the mail and before it said so, the retry sends it
    again. An address or a subject that can't be is refused without retries, and so is one that the server refuses for
    good (5xx).
    """
    from smtplib import SMTPRecipientsRefused

    from airflow.providers.smtp.hooks.smtp import SmtpHook

    recipient = _address(email)
    # A second line would be another header.
    if not subject.isprintable():
        raise RequestError(f"subject {subject!r} must be one line of text")
    with SmtpHook(smtp_conn_id=SMTP) as hook:
        try:
            hook.send_email_smtp(to=[recipient], subject=subject, html_content=_as_html(message))
        except SMTPRecipientsRefused as error:
            [(code, reason)] = error.recipients.values()
            if code < 500:  # it may take it later
                raise
            raise RequestError(
                f"the mail server refuses {recipient}: {code} {reason.decode(errors='replace')}"
            ) from None
    print(f"sent to {recipient}")  # noqa: T201
    return {"email": recipient, "subject": subject}


def _address(email: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    try:
        # Without asking the DNS, in the protocol's old form, which every server understands.
        checked = validate_email(
            email, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False
        )
    except EmailNotValidError as error:
        raise RequestError(f"email {email!r} is no address: {error} Write it as ana@example.com") from None
    return str(checked.ascii_email)


def _as_html(message: str) -> str:
    """Return the text as it is: what looks like markup in it is none."""
    return f'<div style="white-space: pre-wrap">{html.escape(message)}</div>'
