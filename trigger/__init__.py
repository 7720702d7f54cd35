"""The client of Airflow's REST API behind trigger_script.py. docs/architecture.md describes its modules."""
