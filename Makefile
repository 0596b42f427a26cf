# Everything a person does here is a target. `make` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/made
# where an environment forbids compiled files, each of some hundred processes would compile everything once more
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup run demo test check format lint types imports tests test-long mutants bench lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP)/venv:
	@$(PYTHON) -c 'import sys; sys.exit("Headgate needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	@mkdir -p $(STAMP) && touch $@

$(STAMP)/run: $(STAMP)/venv requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(STAMP)/dev: $(STAMP)/venv requirements-dev.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ $(STAMP)/run

setup: $(STAMP)/dev ## Make .venv with everything that working on Headgate needs

run: $(STAMP)/run ## Serve at http://127.0.0.1:8000 with nothing configured
	@$(BIN)/python -m headgate serve

demo: $(STAMP)/$(if $(MACHINES),dev,run) ## Watch a run: order, slots, a kill -9 and a restart; MACHINES=3: on PostgreSQL
	@$(BIN)/python -m scripts.demo $(if $(MACHINES),--machines '$(MACHINES)')

test: setup check ## Set up, then check (what CI runs)

check: format lint types imports tests ## Format, lint, types, import rules, tests

format: $(STAMP)/dev
	$(BIN)/ruff format --check .

lint: $(STAMP)/dev
	$(BIN)/ruff check .

types: $(STAMP)/dev
	$(BIN)/mypy

imports: $(STAMP)/dev
	$(BIN)/lint-imports

tests: $(STAMP)/dev ## The tests that are not long, four files at a time: many of them wait
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

test-long: $(STAMP)/dev ## The long tests: kill loops, soak, fuzzing at length
	$(BIN)/pytest -m long

mutants: $(STAMP)/dev ## Break each rule on purpose and see its test fail
	$(BIN)/python tests/mutants/run.py

bench: $(STAMP)/dev ## The figures of benchmarks/README.md
	$(BIN)/python -m benchmarks

lock: $(STAMP)/dev ## Write requirements*.txt anew from requirements*.in
	$(BIN)/python -m pip install --quiet uv
	for name in requirements requirements-dev; do \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	    --no-emit-index-url --no-emit-find-links --no-header $$name.in -o $$name.txt; done

clean: ## Remove what the other targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
