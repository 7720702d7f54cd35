"""Hostile values for every option: one line of error, no traceback, nothing that a terminal would obey, no secret."""

from __future__ import annotations

import pytest

from tests.campaign import Campaign
from tests.trigger.script import CONTROL, Script

VALUES = (
    *(
        "",
        " ",
        "-",
        "--",
        "--list",
        "\n",
        "a\nb",
        "\x1b]0;owned\x07",
        "\x1b[2J",
        "\u202eabc",
        "\r",
        "\x7f",
        "\u009b2J",
    ),
    *(
        "../../etc/passwd",
        "@/etc/shadow",
        "@/dev/zero/x",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
    ),
    *(
        "'; DROP TABLE dag; --",
        "$(touch owned)",
        "`id`",
        "{{ conn.x.password }}",
        "%s%n",
        "%0a%0dSet-Cookie:x=1",
        "a/b?c#d",
    ),
    *(
        "null",
        "[]",
        "{}",
        "[" * 3000,
        '{"a":' * 2000,
        "9" * 5000,
        "-1",
        "0",
        "1e999",
        "NaN",
        "x" * 100_000,
        "\udcff",
        "🦄",
    ),
)
DAG = ("--dag-id", "quick")
OPTIONS = {
    "dag": ("--dag-id",),
    "run": (*DAG, "--run-id"),
    "conf": (*DAG, "--conf"),
    "file": (*DAG, "--file"),
    "set": (*DAG, "--set"),
    "date": (*DAG, "--logical-date"),
    "tag": ("--list", "--tag"),
    "output": ("--list", "--output"),
    "profile": ("--list", "--profile"),
    "address": ("--list", "--connect-timeout", "0.1", "--url"),
    "token": ("--list", "--token"),
    "user": ("--list", "--username"),
    "note": (*DAG, "--dry-run", "--note"),
    "interval": (*DAG, "--inicio"),
    "delay": (*DAG, "--delay"),
}


@pytest.mark.security
@pytest.mark.soak
@pytest.mark.parametrize("option", OPTIONS)
def test_no_hostile_value_does_more_than_be_refused(script: Script, option: str, campaign: Campaign) -> None:
    secret = script.environment["AIRFLOW_PASSWORD"]
    for value in VALUES:
        done = script(*OPTIONS[option], value)
        assert done.code in range(8), (value, done)
        assert "Traceback" not in done.err
        assert secret not in done.out + done.err
        assert not CONTROL.search(done.out + done.err), (value, done)
        assert not {"\x1b", "\x07", "\u009b", "\u202e", "\x7f"} & set(done.out + done.err), (value, done)
        if done.code:
            assert done.out == ""
            # It is quoted, and once at most.
            assert len(done.err) < 2 * len(value) + 2000, value[:50]
            campaign.refused("command lines")
        else:
            campaign.let_through("command lines")
