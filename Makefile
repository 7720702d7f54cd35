# Targets that need .venv create it first, with uv, from requirements-dev.txt.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
INSTALLED := $(VENV)/.installed
BIN := $(VENV)/bin
DBT := .venv-dbt
BOOTSTRAP := .local/bootstrap
ROWS ?= 1000000
BROKER ?= rabbitmq
TIPO ?= produto
COUNT ?= 100
FIRST ?= 1000001
DOCKER ?= deployment

# Bytecode is kept, whatever the calling shell says: a deployment has dozens of processes, and each task is one more. All of
# them would compile the same files again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(INSTALLED) ## Watch sales move from PostgreSQL to ClickHouse through scheduled runs, then compare both
	@$(BIN)/python -m local demo

.PHONY: demo-ocorrencias
demo-ocorrencias: $(INSTALLED) ## Replay recorded traffic incidents: the counts, the CSV and the views
	@$(BIN)/python -m local demo-ocorrencias

.PHONY: demo-loja
demo-loja: $(INSTALLED) ## Run the store's seven DAGs: a worker is killed, the broker restarted, and nothing is lost
	@$(BIN)/python -m local demo-loja

.PHONY: local
local: $(INSTALLED) ## Run the whole deployment until Ctrl-C; prints address, user and (on a terminal) password of the UI
	@$(BIN)/python -m local up

.PHONY: local-loja
local-loja: $(INSTALLED) ## The same with the store's servers: MariaDB, RabbitMQ, SQS and S3
	@$(BIN)/python -m local up --loja

.PHONY: publish
publish: $(INSTALLED) ## Put messages into the store's queues beside make local-loja (BROKER=sqs TIPO=pedido COUNT=10000 FIRST=1000001)
	@$(BIN)/python -m local env python -m local.demos.publish \
		--broker $(BROKER) --tipo $(TIPO) --count $(COUNT) --first $(FIRST)

# If workers must be recreated, they stop first. Compose would stop the API server before them, but running tasks report their
# end to it.
.PHONY: up
up: ## Run the deployment in Docker; first writes .env with new passwords, if it is missing
	@sh deploy/write_env.sh
	@docker compose build
	@! docker compose --dry-run create 2>&1 | grep --quiet 'airflow-worker-[0-9]* *Recreate' \
		|| docker compose stop airflow-worker
	@docker compose up --detach --wait || { docker compose ps --all; docker compose logs --tail 40 init; exit 1; } >&2
	@echo "Airflow: $$(sed -n s/^UI_URL=//p .env), user admin, password: ADMIN_PASSWORD in .env"

.PHONY: down
down: ## Stop the deployment in Docker; its data stays
	@docker compose --profile '*' down

.PHONY: logs
logs: ## Follow the logs of the services in Docker (SERVICE=scheduler for one of them)
	@docker compose logs --follow --tail 100 $(SERVICE)

# In three processes: one runs tests/e2e, which mostly wait, and starts first; the other two run all other tests.
.PHONY: test
test: lint typecheck ## Lint, check types, run every test except campaigns, soak and load (TESTS=tests/include/tarefas/api: only that folder)
	$(BIN)/pytest --numprocesses 3 -m "not campaign and not soak and not load" $(TESTS)

.PHONY: check
check: lint typecheck ## Lint, check types, run every test that needs no server; takes about a minute
	$(BIN)/pytest --numprocesses 2 -m "not server and not soak and not load"

.PHONY: campaigns
campaigns: $(INSTALLED) ## Kill, commit late and alter at every step, on tables of every kind; about ten minutes
	$(BIN)/pytest --numprocesses 2 -m campaign

.PHONY: soak
soak: $(INSTALLED) ## Run the tests that take too long for every day, and the property tests on new random examples
	$(BIN)/pytest --hypothesis-profile search -m "soak or hypothesis"

# SECURITY_SEED=… repeats the random part of a run, which prints its seed.
.PHONY: test-security
test-security: $(INSTALLED) ## Attack the deployment, the servers, the consumers and the commands in every known way; print the counts
	$(BIN)/pytest --hypothesis-profile search -m security

.PHONY: load
load: $(INSTALLED) ## Queue five hundred automations in three queues at once, and check their order
	$(BIN)/pytest -m load -s

.PHONY: load-history
load-history: $(INSTALLED) ## Move a history of sales over two workers, kill one on the way, compare; then by one worker (ROWS=20000000 sales)
	@$(BIN)/python -m local.bench.history --sales $(ROWS) --page docs/benchmark.md

# Images are pulled or built in fixtures, which have no time limit: how long they take depends on network and machine. Each
# step has one, far above what it takes, because a step also builds.
.PHONY: test-docker
test-docker: $(INSTALLED) ## Test the deployment in containers; as root it starts a Docker Engine if there is none (DOCKER=own, DOCKER=python: other tests)
	@$(BIN)/python -m local.docker $(BIN)/pytest --exitfirst --quiet -o timeout_func_only=true --timeout 1800 \
		tests/docker/test_$(DOCKER).py

.PHONY: test-versions
test-versions: $(INSTALLED) ## Run the tests of a server on its other versions, and print what was run on what (VERSION=postgres-14: one of them)
	@$(BIN)/python -m tests.versions $(VERSION)

.PHONY: bench
bench: $(INSTALLED) ## Measure the mirror against ClickHouse's own puller and others, how its views are read, and the marts; writes docs/benchmark.md (ROWS=1000000)
	@test -x $(SLING) || $(UV) pip install --quiet --python $(BIN)/python --target .local/sling sling-linux-amd64 || true
	@$(BIN)/python -m local.bench.mirror --rows $(ROWS) --sling $(SLING) --page docs/benchmark.md
	@$(BIN)/python -m local.bench.reads --rows $(ROWS) --page docs/benchmark.md
	@$(BIN)/python -m local.bench.marts --rows $(ROWS) --page docs/benchmark.md

# A program to compare with, which nothing but the benchmark installs.
SLING := .local/sling/sling_linux_amd64/bin/sling-linux-amd64

.PHONY: trigger-single
trigger-single: $(INSTALLED) ## Write dist/trigger_script.py: the whole client in one file that can be copied anywhere
	@$(BIN)/python -m trigger.single dist/trigger_script.py

.PHONY: types
types: $(INSTALLED) ## Write docs/types.md from the type registry
	@$(BIN)/python -m include.mirror.types > docs/types.md

.PHONY: settings
settings: $(INSTALLED) ## Write docs/settings.md from the settings in the code
	@$(BIN)/python -m include.settings > docs/settings.md

.PHONY: dags
dags: $(INSTALLED) ## Write docs/dags.md from the DAGs
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT \
		&& AIRFLOW_HOME=$$home PYTHONPATH=config $(BIN)/python -m include.dag_docs > docs/dags.md

.PHONY: docs
docs: types settings dags ## Write all pages that are generated from the code

.PHONY: pictures
pictures: $(INSTALLED) ## Write the pictures of the page Warehouse into docs/images, from a real browser
	PICTURES=docs/images $(BIN)/pytest tests/e2e/test_warehouse_page.py -k operator

# Jupyter's own packages, with the versions of the lock where both have one.
JUPYTER := .local/jupyter

.PHONY: notebook
notebook: $(INSTALLED) ## Open the analyses of the sales in Jupyter, beside make local
	@test -d $(JUPYTER)/jupyterlab || $(UV) pip install --quiet --python $(BIN)/python --target $(JUPYTER) \
		--constraints requirements-dev.txt jupyterlab==4.6.6
	@$(BIN)/python -m local env sh -c 'PYTHONPATH="$(CURDIR)/$(JUPYTER):$$PYTHONPATH" exec python -m jupyterlab notebooks'

.PHONY: lint
lint: $(INSTALLED) ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/hadolint Dockerfile deploy/otel-collector/Dockerfile

.PHONY: format
format: $(INSTALLED) ## Fix style and formatting
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: typecheck
typecheck: $(INSTALLED) ## Check types
	$(BIN)/mypy

.PHONY: lock
lock: $(INSTALLED) ## Update requirements*.txt from their .in files (UPGRADE=--upgrade renews every pin)
	@$(UV) pip compile $(LOCK) $(UPGRADE) requirements.in --output-file requirements.txt
	@$(UV) pip compile $(LOCK) $(UPGRADE) --constraints requirements.txt requirements-dev.in --output-file requirements-dev.txt
	@$(UV) pip compile $(LOCK) $(UPGRADE) requirements-dbt.in --output-file requirements-dbt.txt

# --strict: a package that could not be looked up fails, too.
.PHONY: audit
audit: $(INSTALLED) ## Look for known vulnerabilities of the locked packages, in the data that PyPI serves
	@$(UV) tool run --quiet pip-audit==2.10.1 --strict --require-hashes --disable-pip \
		--requirement requirements.txt --requirement requirements-dev.txt --requirement requirements-dbt.txt

.PHONY: clean
clean: ## Remove .venv, .venv-dbt and .local, with the data of `make local` and `make demo`
	rm -rf $(VENV) $(DBT) .local

# The written files must not contain the address of a configured index, so neither index nor command line is written.
LOCK := --universal --python-version 3.11 --generate-hashes --quiet --no-emit-index-url --custom-compile-command "make lock"
# Run uv instead of searching for it: a version manager may have a shim on the PATH for a uv that is not installed.
UV = $$(uv --version >/dev/null 2>&1 && echo uv || echo $(BOOTSTRAP)/bin/uv)

# The first interpreter with a version that the locked requirements support; `make PYTHON=…` names another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& command -v $$python && break; done)

# The stamp file makes this run only when the requirements have changed.
$(INSTALLED): requirements-dev.txt requirements-dbt.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 on the PATH: install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@uv --version >/dev/null 2>&1 || test -x $(BOOTSTRAP)/bin/uv \
		|| { $(PYTHON) -m venv $(BOOTSTRAP) && $(BOOTSTRAP)/bin/pip install --quiet uv; } \
		|| { echo "uv could not be installed with $(PYTHON): install uv (or python3-venv) yourself, then run make again" >&2; exit 1; }
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" $(VENV)
	@echo "Installing the requirements into $(VENV)"
	@$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements-dev.txt
	@test -x $(DBT)/bin/python || $(UV) venv --quiet --python $(BIN)/python $(DBT)
	@echo "Installing dbt into $(DBT)"
	@$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(DBT)/bin/python requirements-dbt.txt
	@touch $@
