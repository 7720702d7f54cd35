"""Publish messages for a demonstration, through the connections `rabbitmq_loja` or `sqs_loja`.

    python -m local.demos.publish --broker rabbitmq --count 10000 --poison 3

Run it in the environment of the deployment. The image does not contain `local`: a container gets this file through standard
input, so it must not import anything of `local`. Ids are numbered from `--first`. Publishing the same numbers again changes
nothing, because the consumers know these ids. Prints the number of messages and the rate. `criacao_produtos` publishes ids
from PRODUTO-0001 on (`notices`), so the ids here begin far above.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain

import click

from include.conventions.errors import TaskError
from include.loja.queues.message import LARGEST, TYPES

POISON = (b"{", b'{"tipo": "cliente", "id": "CLIENTE-0001"}', b"x" * (LARGEST + 1))
FIRST = 1_000_001


def generate(tipo: str, first: int, count: int) -> Iterator[bytes]:
    """Yield `count` messages with ids numbered from `first`. The same number always gives the same message."""
    for number in range(first, first + count):
        draw = random.Random(f"{tipo} {number}")  # noqa: S311 (nothing is kept secret by it)
        yield json.dumps(
            {
                "tipo": tipo,
                "id": f"{tipo.upper()}-{number:04d}",
                "timestamp": datetime.fromtimestamp(1_790_000_000 + number, UTC).isoformat(),
                "dados": {
                    "acao": draw.choice(["criar", "atualizar", "deletar"]),
                    "metadados": {
                        "origem": draw.choice(["app", "site", "api"]),
                        "prioridade": draw.choice(["alta", "media", "baixa"]),
                    },
                },
            }
        ).encode()


@click.command(help="Publish messages through the connection rabbitmq_loja or sqs_loja.")
@click.option("--broker", type=click.Choice(["rabbitmq", "sqs"]), required=True)
@click.option("--tipo", type=click.Choice(TYPES), default="produto", show_default=True)
@click.option("--count", type=click.IntRange(0, 10_000_000), default=100, show_default=True)
@click.option(
    "--first",
    type=click.IntRange(0, 1_000_000_000),
    default=FIRST,
    show_default=True,
    help="Number of the first id.",
)
@click.option(
    "--poison",
    type=click.IntRange(0, 1000),
    default=0,
    help="Also publish this many bodies that are not messages.",
)
def main(broker: str, tipo: str, count: int, first: int, poison: int) -> None:
    """Publish, and print the number of messages and the rate."""
    from include.loja import connections
    from include.loja.queues import rabbitmq, sqs

    queue = f"{tipo}-fila"
    bodies = chain(generate(tipo, first, count), (POISON[n % len(POISON)] for n in range(poison)))
    begun = time.monotonic()
    try:
        if broker == "rabbitmq":
            published = rabbitmq.publish(connections.rabbitmq(), queue, bodies)
        else:
            published = sqs.publish(connections.sqs(), queue, bodies)
    except TaskError as error:
        raise click.ClickException(str(error)) from None
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{published} messages in {queue} ({broker}), {published / seconds:,.0f} a second\n")


if __name__ == "__main__":
    main()
