"""Whatever a run's conf holds: it is refused in one sentence, or what is left of it are instants and known tables."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.conventions import queues
from include.conventions.errors import RequestError
from include.mirror.run import CONF_KEYS, plan_run
from include.mirror.window import rebuilds, resolve
from include.vendas.tables import VENDAS

pytestmark = pytest.mark.security

TABLES = VENDAS.names

HOSTILE = [
    "2026-01-01T00:00:00Z'; DROP TABLE venda; --",
    "2026-01-01T00:00:00Z' OR '1'='1",
    "venda; DROP TABLE venda",
    "venda` FINAL UNION ALL SELECT password FROM users",
    "$(touch /tmp/owned)",
    "`reboot`",
    "low && curl example.com",
    "{{ conn.postgres_vendas.password }}",
    "{{ ''.__class__.__mro__ }}",
    "../../etc/passwd",
    "os.system",
    "\x00",
    "venda\n",
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([*HOSTILE, *TABLES])
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
INSTANTS = st.datetimes(timezones=st.timezones()).map(lambda instant: instant.isoformat())
CONFS = st.fixed_dictionaries(
    {},
    optional={
        "inicio": INSTANTS | VALUES,
        "fim": INSTANTS | VALUES,
        "tabelas": VALUES | st.lists(st.sampled_from(TABLES)),
        "reconstruir": VALUES | st.lists(st.sampled_from(TABLES)),
    },
)


class ReachedError(Exception):
    """Planning has read the conf, and went on to the servers."""


def _reached() -> NoReturn:
    raise ReachedError


SERVERS = SimpleNamespace(declaration=VENDAS, clients=_reached)


@given(CONFS)
@example({"reconstruir": [HOSTILE[2]]})
@example({"reconstruir": ["venda"]})
@example({"inicio": HOSTILE[0], "fim": "2026-01-02T00:00:00Z"})
@example({"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z", "tabelas": [HOSTILE[2]]})
@example({"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z", "tabelas": "venda"})
def test_only_instants_and_known_tables_come_out_of_a_conf(conf: dict[str, Any]) -> None:
    given_conf = {key: value for key, value in conf.items() if value is not None}
    with pytest.raises((RequestError, ReachedError)) as outcome:
        plan_run(SERVERS, given_conf, (None, None))  # type: ignore[arg-type]
    if outcome.type is ReachedError and "reconstruir" in given_conf:
        assert given_conf.keys() == {"reconstruir"}
        assert set(rebuilds(given_conf)) <= set(TABLES)
    elif outcome.type is ReachedError:
        request = resolve(given_conf, (None, None), TABLES)
        for instant in (request.interval.inicio, request.interval.fim):
            assert instant.utcoffset() == timedelta()
        assert set(request.tabelas) <= set(TABLES)


@given(st.text().filter(lambda key: key not in CONF_KEYS), VALUES)
@example("dag_id", "other")
@example("command", HOSTILE[4])
def test_a_key_that_nobody_reads_is_refused(key: str, value: Any) -> None:
    with pytest.raises(RequestError, match="unknown conf key"):
        plan_run(SERVERS, {key: value}, (None, None))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [*HOSTILE, ["high"], {"high": 1}, 5, True])
@pytest.mark.security("payloads")
def test_a_queue_that_is_not_in_the_list_changes_nothing(value: Any) -> None:
    task = SimpleNamespace(queue="default", run_id="r", dag_id="d")
    queues.choose_queue(task, SimpleNamespace(conf={queues.KEY: value}))  # type: ignore[arg-type]
    assert task.queue == "default"
