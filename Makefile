# The development workflow. `make run` and `make test` are the two commands of the README.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR ?= var
PORT ?= 8501

.PHONY: run test check venv format bench lock clean screenshot

run: venv ## the product; with no sources configured it plays the drill
	@exec $(BIN)/tingfeng run --config $(HOME_DIR) --port $(PORT) $(ARGS)

test: $(VENV)/.dev ## unit, contract, flow, screen and browser tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

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

screenshot: $(VENV)/.dev ## plays the drill and takes the README's picture
	$(BIN)/python docs/take_screenshot.py

lock: ## refresh the lock files (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q -o requirements.lock
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q -o requirements-dev.lock
	uv pip compile pyproject.toml --extra distributed --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q -o requirements-distributed.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Debian and Ubuntu ship python3 without ensurepip; bootstrap.sh says or does what is needed.
$(VENV)/bin/python:
	@bash scripts/make_venv.sh $(PYTHON) $(VENV)

# The lock is complete, so the resolver has nothing to do: --no-deps.
$(VENV)/.ready: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	$(BIN)/tingfeng warm
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.ready
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@
