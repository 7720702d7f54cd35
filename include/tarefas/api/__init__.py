"""The REST service that the API server mounts at `/scheduler`. Only the API server imports what is here.

app.py          the app, put together
access.py       who may ask for what
errors.py       how it says no
middleware.py   which bodies it reads at all; and the check of calls that come by Airflow's own API
tasks.py        modules, queue-task, schedule-task
runs.py         how a run is started: by Airflow's own API, with the caller's token
queue.py        clean-queue: taking away what waits, against workers and schedulers
jobs.py         the jobs of PostgreSQL
page.py         the OpenAPI document and its page
"""
