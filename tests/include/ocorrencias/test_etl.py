"""What a run says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.conventions.failures import failure
from include.ocorrencias import etl
from include.ocorrencias.errors import BusyError, CsvError, DiskError, ExhaustedError

SUMMARY: dict[str, Any] = {
    "gravacao": "",
    "eventos": 3,
    "recusados": 0,
    "atraso": "",
    "pops_desconhecidos": [],
    "tentativas": {"/pops/": 2},
    "retentativas": 1,
    "contagens": [["Queda [/via] :fire:", "[b]ABERTO[/b]", 3]],
}


def test_a_replay_says_that_it_is_one_and_tells_nobody():
    summary = SUMMARY | {"pops_desconhecidos": [98, 99]}
    assert etl.headline(summary) == "3 ocorrências · 1 retry · 2 unknown POPs"
    assert etl.unknown_pops(summary) == "98, 99"
    replayed = summary | {"gravacao": "tarde"}
    assert etl.headline(replayed) == "replay of tarde · 3 ocorrências · 1 retry · 2 unknown POPs"
    assert etl.unknown_pops(replayed) == ""


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (BusyError, True),
        (DiskError, True),
        (CsvError, False),
        (ExhaustedError, False),
    ],
)
def test_airflow_retries_what_another_try_may_heal(error, retried):
    ending = failure(error("said"))
    assert str(ending) == "said"
    assert type(ending) is (AirflowException if retried else AirflowFailException)


def test_the_words_of_the_service_are_no_markup():
    shown = etl.report(SUMMARY)
    assert "Queda [/via] :fire:" in shown
    assert "[b]ABERTO[/b]" in shown
