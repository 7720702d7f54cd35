"""The mirror: keeps tables in ClickHouse equal to tables in PostgreSQL.

Nothing in this package imports Airflow, so it runs and is tested without a scheduler. `docs/guarantees.md` lists its
guarantees, what each rests on, and which test shows it.
"""
