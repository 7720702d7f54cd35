"""Hostile messages on both brokers: each is a dead letter with its reason, and nothing else of it remains."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from pymysql.connections import Connection

from include.loja.queues.consume import LOST
from include.loja.queues.message import LARGEST, Poison, key, parse
from local.servers.mariadb import MariaDB
from local.waiting import until
from tests.campaign import Campaign
from tests.include.loja.queues.brokers import SQS, Broker, worker
from tests.include.loja.queues.letters import assert_stored_once, bodies, body, column, ids

pytestmark = pytest.mark.security

SEARCHED = 300
VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        2**63,
        1e308,
        "",
        " ",
        [],
        {},
        [[]],
        "alta\n",
        "PRODUTO-0001' OR '1'='1",
        "../../etc/passwd",
    ),
    *(
        "{{ conn.mysql_loja.password }}",
        "$(reboot)",
        "PRODUTO-\u0660\u0660\u0660\u0661",
        "PRODUTO-0001\n",
        "0001-01-01T00:00:00+14:00",
    ),
    *(
        "9999-12-31T23:59:59-14:00",
        "2026-11-21T15:00:00",
        "2026-13-45T99:99:99Z",
        "\u202eotudorp",
        "\U0001d595roduto",
        "\ud800",
    ),
]


def changed(path: str, value: Any) -> bytes:
    """Return a message in which the value at a path, such as `dados.acao`, is another."""
    message = json.loads(body(1))
    *parents, last = path.split(".")
    inner = message
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return json.dumps(message).encode()


HOSTILE = [
    *(
        changed(path, "x' OR 1=1 --")
        for path in ("tipo", "id", "timestamp", "dados", "dados.acao", "dados.metadados")
    ),
    *(
        changed("id", value)
        for value in (
            "PRODUTO-1",
            "PEDIDO-0001",
            "PRODUTO-0001\n",
            "PRODUTO-\u0660\u0660\u0660\u0661",
            "PRODUTO-" + "9" * 99,
        )
    ),
    *(
        changed("timestamp", value)
        for value in ("2026-11-21T15:00:00", "0001-01-01T00:00:00+14:00", 2**63, "9" * 5000)
    ),
    *(changed("dados.metadados.prioridade", value) for value in ("alta\n", 9, None, ["alta"], {"alta": 1})),
    *(
        b"",
        b" ",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"NaN",
        b"-",
        b"{",
        b"{}",
        b'{"tipo": "produto"',
        b"\xef\xbb\xbf{}",
    ),
    *(
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"[" + b"[]," * 70_000 + b"[]]",
        b"1" * 5000,
        b'{"id": ' + b"9" * 5000 + b"}",
    ),
    b'{"tipo": "produto", "tipo": "pedido", ' + body(1)[1:].replace(b"PRODUTO", b"PEDIDO"),
    body(1) + body(2),
    b"x" * (LARGEST + 1),
]


@pytest.fixture(params=["rabbitmq", "sqs"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each of the brokers, with empty queues."""
    broker: Broker = request.getfixturevalue(request.param)
    return broker


def settle(broker: Broker, queues: Connection[Any], hostile: list[bytes], campaign: Campaign) -> None:
    """Publish hostile bodies among good ones; fail unless each ends where it belongs."""
    # An empty body can't be sent to SQS, and a body is a text there.
    texts = [one for one in dict.fromkeys(hostile) if (one and not isinstance(broker, SQS)) or sendable(one)]
    poison = {}
    for one in texts:
        try:
            parse(one)
        except Poison as reason:
            poison[key(broker.cut(one)[0])] = str(reason)
    good = {parse(one).id for one in texts if key(one) not in poison and is_good(one)}
    broker.publish([*bodies(9001, 9005), *texts, *bodies(9006, 9010)])
    broker.drain(queues, "hostile")
    letters = broker.dead_letters()
    assert {name: letter.motivo for name, letter in letters.items()} == poison
    stored = set(column(queues, "SELECT mensagem_id FROM mensagens"))
    assert stored == good | ids(9001, 9010)
    assert broker.waiting() == 0
    campaign.refused("messages", len(poison))
    campaign.let_through("messages", len(texts) - len(poison))


def sendable(text: bytes) -> bool:
    """Return whether SQS takes a body: UTF-8 of characters that XML can hold."""
    try:
        characters = text.decode()
    except UnicodeDecodeError:
        return False
    return bool(characters) and all(one >= " " or one in "\t\n\r" for one in characters)


def is_good(text: bytes) -> bool:
    try:
        parse(text)
    except Poison:
        return False
    return True


def test_each_hostile_message_is_a_dead_letter_and_the_others_are_stored(
    broker: Broker, queues: Connection[Any], campaign: Campaign
) -> None:
    assert not [one for one in HOSTILE if is_good(one)]
    settle(broker, queues, HOSTILE, campaign)


@pytest.mark.soak
def test_random_messages_end_where_they_belong(
    broker: Broker, queues: Connection[Any], campaign: Campaign, seed: int
) -> None:
    chance = random.Random(seed)
    paths = (
        "tipo",
        "id",
        "timestamp",
        "dados",
        "dados.acao",
        "dados.metadados.origem",
        "dados.metadados.prioridade",
    )

    def mutated(number: int) -> bytes:
        text = bytearray(body(number))
        kind = chance.randrange(4)
        if kind == 0:
            return changed(chance.choice(paths), chance.choice(VALUES))
        if kind == 1:
            return bytes(text[: chance.randrange(len(text))])
        for _ in range(chance.randrange(1, 6)):
            where = chance.randrange(len(text))
            text[where : where + (kind == 2)] = bytes([chance.randrange(32, 127)])
        return bytes(text)

    settle(broker, queues, [mutated(number) for number in range(1, SEARCHED + 1)], campaign)


@pytest.mark.soak
@pytest.mark.security("messages")
def test_a_message_that_takes_all_memory_comes_back_a_few_times_and_no_more(
    sqs: SQS, queues: Connection[Any], mariadb_server: MariaDB, loja_name: str
) -> None:
    """Each consumer may use little more memory than it has when it begins, and ends without having settled anything."""
    sqs.publish([body(1, prioridade="alta"), *(body(n, prioridade="baixa") for n in range(2, 12))])
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        assert len(codes) <= LOST
        until(lambda: sqs.waiting() == 11, 60, "all messages are visible again")
        process = worker(mariadb_server, loja_name, sqs, hungry="PRODUTO-0001", visibility=1)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0 or "MemoryError" in said, said
        codes.append(process.returncode)
    assert codes == [1] * LOST + [0], said
    assert_stored_once(queues, ids(2, 11))
    [(dead, letter)] = sqs.dead_letters().items()
    assert dead == "PRODUTO-0001"
    assert letter.motivo.startswith(f"redelivered {LOST} times without being finished")
