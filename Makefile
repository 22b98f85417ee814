# On a bare machine: Python 3.11 or newer, make, a network. Then `make run`, `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --quiet
# Wheels have no need of a compiler, and the stamps come last: an interrupted install is done again.
RUN := $(VENV)/run.stamp
DEV := $(VENV)/dev.stamp

# Tests start hundreds of Python processes. Where modules are compiled anew each time, that takes half of their time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test unit check bench soak mutants browser format lock screenshots
.DEFAULT_GOAL := run

run: $(RUN)
	@exec $(BIN)/python manage.py serve

# `make test T=tests/core` runs those tests alone, without checks; T takes whatever pytest takes.
test: $(DEV) $(if $(T),,browser check)
	$(BIN)/python -m pytest $(if $(T),$(T),-n 2 --dist worksteal)

# The tests that need neither a database nor another process: seconds, to run after every change.
unit: $(DEV)
	@exec $(BIN)/python -m pytest -q -m "unit and not large_input" --hypothesis-profile quick

bench: $(DEV)
	@exec $(BIN)/python -m tests.benchmarks

soak: $(DEV) browser
	@MEMORYHUB_SOAK=1 exec $(BIN)/python -m pytest -m soak

mutants: $(DEV)
	@exec $(BIN)/python -m tests.mutation

browser:
	@.ci/browser

screenshots: $(DEV) browser
	@exec $(BIN)/python -m tests.browser.screenshots

check: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	find templates inspector memoryhub -name '*.html' -exec $(BIN)/djade --check --target-version 5.2 {} +
	$(BIN)/hadolint Dockerfile
	$(BIN)/bandit -q -r memoryhub inspector -c pyproject.toml
	@# No database runs here: whether the migrations are complete is in the files alone.
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	MEMORYHUB_HTTPS=true $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(PIP) check

format: $(DEV)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	find templates inspector memoryhub -name '*.html' -exec $(BIN)/djade --target-version 5.2 {} +

lock: $(DEV)
	$(PIP) install uv
	$(LOCK) --output-file requirements/run.lock
	$(LOCK) --extra dev --output-file requirements/dev.lock

$(RUN): requirements/run.lock | $(BIN)/pip
	@echo "Installing what memoryhub needs; this is done once."
	@$(PIP) install --only-binary :all: --require-hashes -r $<
	@touch $@

$(DEV): requirements/dev.lock | $(BIN)/pip
	@echo "Installing what memoryhub and its tests need; this is done once."
	@$(PIP) install --only-binary :all: --require-hashes -r $<
	@touch $@ $(RUN)

# pip is the last thing that venv makes: without it the environment was interrupted and is made anew.
$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "memoryhub needs Python 3.11 or newer."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "memoryhub needs Python 3.11 or newer: make PYTHON=...")'
	@"$(PYTHON)" -m venv --clear $(VENV)
