"""From a declaration to its DAGs: the only part of the mirror that knows Airflow.

Airflow skips DAG files that hold neither the word "dag" nor "airflow" without a word. The one import that every
declaration needs, `from include.airflow_mirror import mirror_dags`, holds both.
"""

from include.airflow_mirror.dag import mirror_dags
from include.airflow_mirror.settings import Settings, load

__all__ = ["Settings", "load", "mirror_dags"]
