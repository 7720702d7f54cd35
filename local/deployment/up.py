"""`make local`: run the whole deployment until Ctrl-C. The next start uses the same data."""

from __future__ import annotations

import itertools
import os
import random
import time
from contextlib import closing
from pathlib import Path

import pika
from rich.console import Console
from rich.panel import Panel

from include.loja.queues import rabbitmq
from local.demos import loja_data
from local.demos.publish import generate
from local.deployment.api import AirflowApi
from local.deployment.loja import Loja
from local.deployment.settings import FILE_NAME, Settings
from local.deployment.stack import AIRFLOW_PROCESSES, Deployment, Simulator, fill

DAGS = ("marts_vendas", "etl_vendas")
"""The DAGs that are switched on. First the marts: an asset event does not start a DAG that is paused when it happens."""
# Seconds to wait for the DAG; a busy machine imports Airflow slowly.
PATIENCE = 180.0
# The variable that names the supplier's price list, and the list of the sample data in the deployment's folder.
PRICES, PRICE_LIST = "LOJA_PRECOS_ORIGEM", "precos.csv"
# Seconds between two moments of activity in the store.
MOMENT = 5


def welcome(settings: Settings, *, is_terminal: bool) -> Panel:
    """Return the address and login of the UI. Other output than a terminal may end in a log, and gets no password."""
    password = settings.admin_password if is_terminal else f"admin_password in {settings.folder / FILE_NAME}"
    return Panel.fit(
        f"Airflow   {settings.url}\nWarehouse {settings.url}/plugin/warehouse\n"
        f"user      {settings.admin_user}\npassword  {password}\n"
        f"logs      {settings.logs}\n\nCtrl-C stops everything; the data stays.",
        title="etl_vendas",
    )


def run(folder: Path, console: Console, rate: float, history: int, loja: bool = False) -> None:
    """Start all processes, print the UI's address, and supervise them until a signal.

    `rate` is in sales per second, 0 for none; `history` is the number of sales in a new source; with `loja`, the store's
    servers run too, with sample data, and with activity unless `rate` is 0. Raises the deployment's errors, for example
    ProcessDiedError if a process ends by itself.
    """

    def say(text: str) -> None:
        console.print(f"{time.strftime('%H:%M:%S')}  {text}", markup=False, highlight=False)

    prices = folder.resolve() / PRICE_LIST
    variables = {PRICES: str(prices)} if loja and not os.environ.get(PRICES) else {}
    with Deployment(folder, variables, say) as deployment:
        settings = deployment.settings
        deployment.start_databases()
        store = deployment.start_loja() if loja else None
        if store:
            say(stock(store, prices))
        say(fill(settings.source_dsn, history))
        deployment.start_airflow(*AIRFLOW_PROCESSES)
        with AirflowApi(settings) as api:
            for dag_id in DAGS:
                api.unpause(dag_id, PATIENCE, deployment.supervisor.check)
        if rate:
            deployment.start(Simulator(settings, rate))
        console.print(welcome(settings, is_terminal=console.file.isatty()), soft_wrap=True)
        draw = random.Random()  # noqa: S311 (nothing is kept secret by it)
        for second in itertools.count():
            deployment.supervisor.check()
            if store and rate and second % MOMENT == 0:
                live(store, draw)
            time.sleep(1)


def stock(store: Loja, prices: Path) -> str:
    """Give an empty store its sample data and a price list; return in words what was done."""
    with closing(store.connect()) as mysql:
        is_new = loja_data.fill_if_empty(mysql)
        if not prices.exists():
            loja_data.write_prices(prices, mysql)
    if not is_new:
        return "the store keeps its data"
    return f"filled the store: {loja_data.PRODUCTS:,} products, {loja_data.PENDING} to create, {loja_data.ORDERS:,} orders"


def live(store: Loja, draw: random.Random) -> None:
    """Let a moment pass in the store: orders, sometimes a product to create, and a message on RabbitMQ."""
    with closing(store.connect()) as mysql:
        loja_data.live(mysql, draw)
    # By the clock, so that each start has new ids.
    message = generate("pedido", int(time.time()), 1)
    rabbitmq.publish(pika.URLParameters(store.rabbitmq.url()), "pedido-fila", message)
