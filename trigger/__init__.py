"""The client of Airflow's REST API behind trigger_script.py; docs/architecture.md shows its rooms."""
