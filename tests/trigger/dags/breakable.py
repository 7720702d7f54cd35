"""A DAG file that Airflow could import, until it was broken."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

if Path(os.environ["AIRFLOW_HOME"], "broken").exists():
    raise LookupError("somebody broke this file")

with DAG("breakable", schedule=None, is_paused_upon_creation=False, tags=["kinds"]):
    EmptyOperator(task_id="nothing")
