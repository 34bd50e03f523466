# The commands of the project; `make` alone lists them. Works with GNU make 3.81 (macOS).
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?=
RAW ?=
SERVICE ?=
CONF ?=
MODELS ?=
YEARS ?=
TESTS ?= tests
BIOME := 2.6.8
BENCH ?= data pipeline quality serving

BIN := $(VENV)/bin
STACK := $(BIN)/python -m ops.local
LOCK := $(BIN)/python -m uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --quiet

# Some shells forbid Python to keep its bytecode; without it every task imports for ten seconds instead of three.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' Makefile

# --- the stack without containers ---

.PHONY: demo
demo: runtime ## Start the stack, run the pipeline, show the models (RAW=folder of CSVs)
	@$(STACK) demo $(if $(RAW),--raw '$(RAW)')

.PHONY: up
up: runtime ## Start S3, MLflow, the API and Airflow, and wait until they are ready
	@$(STACK) up

.PHONY: down
down: runtime ## Stop them; what they have stored stays in .local
	@$(STACK) down

.PHONY: status
status: runtime ## Show the services' states and addresses
	@$(STACK) status

.PHONY: logs
logs: runtime ## Show the ends of the services' logs (SERVICE=name for one of them)
	@$(STACK) logs $(SERVICE)

.PHONY: trigger
trigger: runtime ## Run the pipeline and follow it (MODELS=MLP,SVC YEARS=2022 CONF='{"evaluation": "full"}')
	@$(STACK) trigger $(if $(MODELS),--models '$(MODELS)') $(if $(YEARS),--years '$(YEARS)') $(if $(CONF),--conf '$(CONF)')

# --- the stack in containers (docs/compose.md) ---

TO ?=
FROM ?=

.PHONY: env
env: ## Write .env with generated secrets for the compose stack; what it holds already is kept
	@ops/compose/stack.sh env

.PHONY: compose-up
compose-up: ## Build and start the compose stack, and wait until it is ready
	@ops/compose/stack.sh up --build

.PHONY: compose-down
compose-down: ## Stop it; what it has stored stays in its volumes
	@ops/compose/stack.sh down

.PHONY: compose-demo
compose-demo: runtime env ## Start it, run the pipeline, show the models (RAW=folder of CSVs)
	@$(BIN)/python -m ops.compose.demo $(if $(RAW),--raw '$(RAW)')

.PHONY: backup
backup: ## Save the compose stack's databases and buckets in a folder (TO=folder)
	@ops/compose/stack.sh backup $(if $(TO),'$(TO)')

.PHONY: restore
restore: ## Replace its databases and buckets by those of a backup (FROM=folder)
	@ops/compose/stack.sh restore '$(FROM)'

.PHONY: test-compose
test-compose: dev ## Test the compose stack for real; needs a Docker Engine with Compose v2
	@$(BIN)/python -m pytest tests/compose

.PHONY: test-faults-compose
test-faults-compose: dev ## Kill each container once while the DAG runs; needs the same (a quarter of an hour)
	@$(BIN)/python -m pytest tests/compose/faults.py

# --- checks ---

.PHONY: test
test: dev ## Run all tests that need no container (TESTS=folder for some of them)
ifeq ($(TESTS),tests)
	@$(BIN)/python -m pytest -n auto --dist loadfile $(COVERAGE) tests/unit tests/dags tests/fuzz
	@$(BIN)/python -m pytest tests/api tests/browser tests/e2e tests/faults
else
	@$(BIN)/python -m pytest $(TESTS)
endif

.PHONY: coverage
coverage: ## All tests; of those that need no server, show which share of the code and of its branches they run
	@$(MAKE) test COVERAGE='--cov --cov-report=term'

.PHONY: test-faults
test-faults: dev ## Break the stack in every way that was thought of; writes docs/faults.md (half an hour)
	@ACCIDENTS_KILLS=300 ACCIDENTS_FAULTS_TABLE=docs/faults.md \
		$(BIN)/python -m pytest tests/faults -m 'long or not long'
	@if docker info >/dev/null 2>&1; then $(MAKE) test-faults-compose; \
		else echo "No Docker Engine answers: the faults of the stack in containers were not tried."; fi

.PHONY: load
load: dev ## Long traffic at the API, 200 models in a run; writes docs/load.md (half an hour)
	@$(BIN)/python benchmarks/load.py --table docs/load.md

.PHONY: check-js
check-js: ## Lint the page's JavaScript and check its format (needs Node)
	@npx --yes @biomejs/biome@$(BIOME) check --error-on-warnings .

.PHONY: check
check: dev ## Lint, check types and imports, run the fast tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports
	@if command -v npx >/dev/null; then $(MAKE) -s check-js; else echo "No Node here: the page's JavaScript was not checked."; fi
	@$(BIN)/python -m pytest -n auto --dist loadfile tests/unit tests/dags
	@$(BIN)/python -m pytest tests/api

MINUTES ?= 5

.PHONY: fuzz
fuzz: dev ## Search for input that does harm, for some minutes (MINUTES=5); the result is in .local/fuzz/result.md
	@$(BIN)/python -m tests.fuzz.run $(MINUTES)

.PHONY: audit
audit: dev ## Ask whether a locked dependency has a known vulnerability
	@$(BIN)/python requirements/inventory.py audit

.PHONY: sbom
sbom: dev ## List the dependencies and their licences: docs/licences.md, and sbom.json (CycloneDX)
	@$(BIN)/python requirements/inventory.py licences
	@$(BIN)/python -W ignore -m cyclonedx_py requirements requirements/runtime.txt --pyproject pyproject.toml -o sbom.json

.PHONY: bench
bench: dev ## Run the benchmarks, a line a figure (BENCH=data RAW=folder)
	@failed=0; for name in $(BENCH); do $(if $(RAW),RAW='$(RAW)') $(BIN)/python benchmarks/$$name.py || failed=1; done; exit $$failed

# --- the environment ---

.PHONY: runtime
runtime: ## Make .venv with what the stack needs (PYTHON=python3.12 to choose)
	@requirements/install.sh '$(VENV)' runtime '$(PYTHON)'
	@$(BIN)/python -m compileall -q $(wildcard api dags include ops plugins)

.PHONY: dev
dev: ## Make .venv with what the checks need too
	@requirements/install.sh '$(VENV)' dev '$(PYTHON)'
	@$(BIN)/python -m compileall -q $(wildcard api dags include ops plugins)

.PHONY: lock
lock: dev ## Lock newer versions of the dependencies
	@echo uv | $(LOCK:pyproject.toml=-) --upgrade -o requirements/uv.txt
	@$(LOCK) --upgrade --extra pipeline --extra api --extra airflow --extra mlflow --extra embedded -o requirements/runtime.txt
	@$(LOCK) --upgrade --all-extras -c requirements/runtime.txt -o requirements/dev.txt
	@$(LOCK) --upgrade --extra api -c requirements/runtime.txt -o requirements/api.txt
	@$(LOCK:pyproject.toml=requirements/mlflow.in) --upgrade -c requirements/runtime.txt -o requirements/mlflow.txt
	@$(LOCK) requirements/airflow.in --upgrade --extra pipeline --extra airflow -o requirements/airflow.txt

.PHONY: clean
clean: down ## Stop the stack, delete all that it has stored, and the virtual environment
	@rm -rf '$(or $(ACCIDENTS_LOCAL_DIR),.local)' '$(VENV)'
