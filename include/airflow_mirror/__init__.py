"""Makes a mirror's DAGs from its declaration. This is the only part of the mirror that imports Airflow.

Airflow silently skips files in `dags/` that contain neither the word "dag" nor "airflow". Every declaration imports
`from include.airflow_mirror import mirror_dags`, which contains both.
"""

from include.airflow_mirror.assets import any_table, mirror_asset, table_asset
from include.airflow_mirror.dag import mirror_dags
from include.airflow_mirror.settings import Settings, load

__all__ = ["Settings", "any_table", "load", "mirror_asset", "mirror_dags", "table_asset"]
