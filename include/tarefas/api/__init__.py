"""The REST service that the API server mounts at `/scheduler`. Only the API server imports this package.

app.py          the FastAPI app
access.py       the users and permissions of each route
errors.py       the form of all errors
middleware.py   the limit on bodies, and the check of calls through Airflow's own API
tasks.py        modules, queue-task, schedule-task
runs.py         starts a run through Airflow's own API, with the caller's token
queue.py        clean-queue: removes waiting runs, safely beside workers and schedulers
jobs.py         the jobs of the table `jobs`
page.py         the OpenAPI document and its page
"""
