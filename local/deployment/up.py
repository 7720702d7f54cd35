"""`make local`: run the whole deployment until Ctrl-C. The next start uses the same data."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from local.deployment.api import AirflowApi
from local.deployment.settings import FILE_NAME, Settings
from local.deployment.stack import AIRFLOW_PROCESSES, Deployment, Simulator, fill

DAG_ID = "etl_vendas"
# Seconds to wait for the DAG; a busy machine imports Airflow slowly.
PATIENCE = 180.0


def welcome(settings: Settings, *, is_terminal: bool) -> Panel:
    """Return the address and login of the UI. Other output than a terminal may end in a log, and gets no password."""
    password = settings.admin_password if is_terminal else f"admin_password in {settings.folder / FILE_NAME}"
    return Panel.fit(
        f"Airflow   {settings.url}\nuser      {settings.admin_user}\npassword  {password}\n"
        f"logs      {settings.logs}\n\nCtrl-C stops everything; the data stays.",
        title=DAG_ID,
    )


def run(folder: Path, console: Console, rate: float, history: int, loja: bool = False) -> None:
    """Start all processes, print the UI's address, and supervise them until a signal.

    `rate` is in sales per second, 0 for none; `history` is the number of sales in a new source; with `loja`, the store's
    servers run too. Raises the deployment's errors, for example ProcessDiedError if a process ends by itself.
    """

    def say(text: str) -> None:
        console.print(f"{time.strftime('%H:%M:%S')}  {text}", markup=False, highlight=False)

    with Deployment(folder, report=say) as deployment:
        settings = deployment.settings
        deployment.start_databases()
        if loja:
            deployment.start_loja()
        say(fill(settings.source_dsn, history))
        deployment.start_airflow(*AIRFLOW_PROCESSES)
        with AirflowApi(settings) as api:
            api.unpause(DAG_ID, PATIENCE, deployment.supervisor.check)
        if rate:
            deployment.start(Simulator(settings, rate))
        console.print(welcome(settings, is_terminal=console.file.isatty()), soft_wrap=True)
        while True:
            deployment.supervisor.check()
            time.sleep(1)
