# Everything a user or a developer of Candide types begins here.

PYTHON ?= python3
# Flags for `make run` (candide serve), like ARGS="--port 8001".
ARGS ?=
# What `make test` runs: files, folders, or flags of pytest.
TESTS ?=
# How many processes `make test` runs files of tests in, side by side; 1 for one after the other. Tests wait much, so three keep two cores at work.
JOBS ?= 3
# What `make bench` runs, with its flags, like BENCH="durability.py --server-kills 20".
BENCH ?= streams.py
# What `make eval` measures, with its flags, like EVAL="retrieval.py --every 1".
EVAL ?= retrieval.py

# Compiled modules are kept, also where a container's environment says not to: each start would compile them again.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
# npm, with the Node of the environment, in web/.
NPM := $(BIN)/python scripts/build_page.py --npm
SOURCES := hatch_build.py src tests scripts $(wildcard bench eval)

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench eval reference install web clean

help:  ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

run:  ## Install what is needed, fetch a model on the first time, and serve on 127.0.0.1:8000
	@$(PYTHON) scripts/bootstrap.py
	@exec $(BIN)/candide serve $(ARGS)

install:  ## Make the developers' environment in .venv
	@$(PYTHON) scripts/bootstrap.py --tests
	@$(BIN)/python scripts/build_page.py --tests

web: install  ## Build the page again, after a change in web/
	$(BIN)/python scripts/build_page.py

# The linters come first: the last line is the tests' own.
test: lint  ## Check everything: linters, types, imports, then the tests
	@$(PYTHON) scripts/provide_browser.py
	$(if $(TESTS),,$(NPM) test)
	$(BIN)/python -m pytest $(if $(filter-out 1,$(JOBS)),--numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder) $(TESTS)

lint: install  ## Check style, types, imports and the lock file
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/uv lock --check
	$(NPM) run check
	$(NPM) run lint

format: install  ## Bring the code into shape
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(NPM) run format

bench: install  ## Measure, and print a table (BENCH="durability.py" for another)
	$(BIN)/python bench/$(BENCH)

eval: install  ## Measure how good what is found and answered is, on data beside this folder (EVAL="retrieval.py")
	$(BIN)/python eval/$(EVAL)

reference: install  ## Write docs/reference from the code
	$(BIN)/python scripts/reference.py

clean:  ## Remove what was made here; models and conversations stay
	rm -rf .venv .uv src/candide/web web/node_modules tests/clients/node/node_modules .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
