FROM apache/airflow:3.3.2-python3.12

# Exactly the locked set, as in the tests: what else the base image brings (providers of clouds, mostly) goes, and at last
# the installers. Compiled here, because the containers run on a read-only file system.
RUN --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \
    --mount=type=bind,source=requirements-dbt.txt,target=/tmp/requirements-dbt.txt \
    uv pip sync --no-cache --compile-bytecode --require-hashes /tmp/requirements.txt \
    # dbt's pins and Airflow's do not agree.
    && uv venv --no-cache --python "$(command -v python)" "${AIRFLOW_HOME}/.venv-dbt" \
    && uv pip sync --no-cache --compile-bytecode --require-hashes --python "${AIRFLOW_HOME}/.venv-dbt/bin/python" \
        /tmp/requirements-dbt.txt \
    && uv pip uninstall pip wheel uv \
    # An empty configuration: without the file, Airflow writes one at its first start, with every secret of the
    # environment in it.
    && touch "${AIRFLOW_HOME}/airflow.cfg" \
    # A volume takes the owner of the folder that it is mounted over.
    && mkdir "${AIRFLOW_HOME}/ocorrencias" "${AIRFLOW_HOME}/reports"

ENV PYTHONPATH=/opt/airflow:/opt/airflow/config \
    PYTHONDONTWRITEBYTECODE=1 \
    # Compose starts the database and the broker first.
    CONNECTION_CHECK_MAX_COUNT=0

# What .dockerignore lets through.
COPY --chown=50000:0 . /opt/airflow

USER 50000
CMD ["api-server"]
# Of the default command; each service of docker-compose.yaml has its own.
HEALTHCHECK --interval=30s --timeout=20s --start-period=2m --retries=5 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8080/api/v2/monitor/health"]
