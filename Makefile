# Two commands do everything on a machine with Python 3.11 or later, git and make:
#   make demo    the whole journey on servers of its own
#   make test    the tests, on real servers
# Both create .venv and install what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG := schemas/bank/regionkit.toml

.PHONY: demo test check calibrate bench bench-wide faults mutations moves schemas samples campaigns lint install lab clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "regionkit needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,dev]'
	touch $@

demo: install  ## The whole journey on embedded servers and a generated bank.
	$(BIN)/regionkit demo --config $(CONFIG)

test: install  ## The tests, on real servers.
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

calibrate: install  ## The load generator of check latency beside pgbench, on one server.
	$(BIN)/python -m bench.calibrate
	$(BIN)/python -m bench.calibrate_mongo

bench: install  ## Moving and proving beside the best by hand; takes about half an hour.
	$(BIN)/python -m bench.run $(if $(PAYMENTS),--payments $(PAYMENTS)) $(if $(RUNS),--runs $(RUNS)) \
		$(if $(ROWS),--rows $(ROWS)) $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT))

bench-wide: install  ## 400 tables with 800 foreign keys on servers with their default settings.
	$(BIN)/python -m bench.wide $(if $(TABLES),--tables $(TABLES)) $(if $(REFERENCES),--references $(REFERENCES)) \
		$(if $(ROWS),--rows $(ROWS)) $(if $(SEED),--seed $(SEED)) $(if $(BACKEND),--backend $(BACKEND))

faults: install  ## Faults while migrating, and every invariant after each: SEED= N= ONLY=
	$(BIN)/python -m tests.faults faults --seed $(or $(SEED),1) $(if $(N),--n $(N)) --only '$(ONLY)'

mutations: install  ## Changes of a migrated target, each of which verify must find: SEED= N= ONLY=
	$(BIN)/python -m tests.faults mutations --seed $(or $(SEED),1) $(if $(N),--n $(N)) --only '$(ONLY)'

moves: install  ## Clients moved while others pay, on each backend, and every balance after: SEED= N=
	$(BIN)/python -m tests.moves --seed $(or $(SEED),1) --n $(or $(N),1000)

schemas: install  ## Random schemas with rows through both backends: SEED= N=
	$(BIN)/python -m tests.random_schemas --seed $(or $(SEED),1) --n $(or $(N),100)

samples: install  ## Every hard schema of tests/samples on its whole way, also those that take long.
	$(BIN)/python -m pytest -m 'samples or not samples' tests/live/test_samples.py

campaigns: install  ## The tests that take a minute or more each.
	$(BIN)/python -m pytest -m campaign tests/live

check: lint test  ## Everything that the gate runs.

lab: install  ## Embedded servers that stay: stop them with 'regionkit lab down'.
	$(BIN)/regionkit lab up

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
