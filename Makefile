# The development workflow. `make run` and `make test` are the two commands of the README.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR ?= var
PORT ?= 8501
COMPILE := uv pip compile pyproject.toml --group build --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q

.PHONY: run test check venv format bench lock clean screenshot engines-up engines-down check-engines bench-engines

run: venv ## the product; with no sources configured it plays the drill
	@exec $(BIN)/tingfeng run --config $(HOME_DIR) --port $(PORT) $(ARGS)

test: $(VENV)/.dev ## unit, contract, flow, screen and browser tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Real Kafka, Elasticsearch and PostgreSQL on loopback, by pid; needs java, mvn and postgresql.
engines-up: $(VENV)/.dev ## starts the three servers and prints the settings that use them
	$(BIN)/python scripts/engines.py start all
	@$(BIN)/python scripts/engines.py settings

engines-down: ## stops them
	$(PYTHON) scripts/engines.py stop all

check-engines: $(VENV)/.dev ## contract, flow and fault suites on the real servers
	$(BIN)/python scripts/engines.py start all
	ENGINES_REQUIRED=1 $(BIN)/python -m pytest -m engines $(PYTEST_ARGS)
	TEST_DATABASE_URL=$$($(BIN)/python scripts/engines.py settings --only database_url) \
	  $(BIN)/python -m pytest tests/unit/pipeline/desk tests/unit/pipeline/test_notify.py \
	  tests/flow/test_detect.py tests/flow/test_portal.py tests/flow/test_desk_walk.py \
	  tests/flow/test_warnings_twice.py tests/dashboard/test_pages.py tests/dashboard/test_judging.py

check: $(VENV)/.dev ## format, lint, strict types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

venv: $(VENV)/.ready ## only prepares .venv with the tingfeng command

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## prints the figures of docs/benchmarks.md
	$(BIN)/tingfeng bench all

bench-engines: $(VENV)/.dev ## figures of its own three servers; N=1000000 for the large index
	$(BIN)/tingfeng bench engines --n $(or $(N),0) --json

screenshot: $(VENV)/.dev ## plays the drill and takes the README's picture
	$(BIN)/python docs/take_screenshot.py

lock: ## refresh the lock files (needs uv)
	$(COMPILE) -o requirements.lock
	$(COMPILE) --extra dev -o requirements-dev.lock
	$(COMPILE) --extra distributed -o requirements-distributed.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Debian and Ubuntu ship python3 without ensurepip; bootstrap.sh says or does what is needed.
$(VENV)/bin/python:
	@bash scripts/make_venv.sh $(PYTHON) $(VENV)

# The lock is complete, so the resolver has nothing to do: --no-deps.
$(VENV)/.ready: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/tingfeng warm
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.ready
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@
