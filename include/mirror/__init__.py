"""The mirror: PostgreSQL tables kept equal in ClickHouse, one window of `updated_at` at a time.

Nothing in this package imports Airflow, so it runs and is tested without a scheduler. `docs/guarantees.md`
says what it promises, what each promise rests on, and which test shows it.
"""
