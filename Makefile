# What we do every day. `make help` lists it; the virtual environment .venv is used when it is there.
BIN := $(if $(wildcard .venv/bin/python),.venv/bin/,)
PYTHON := $(if $(BIN),$(BIN)python,python3)

# Licences that an Apache-2.0 product may depend on; the LGPL ones are used as they come, as separate packages.
LICENCES := MIT;BSD;Apache;Mozilla Public License;MPL-2.0;PSF;Lesser General Public License;ISC

# The suites that run longer under `make proof`.
PROOFS := tests/faults tests/service/test_machine.py tests/service/test_odd_money.py

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench proof screenshots translations constraints licences

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## run everything with sample data; Ctrl-C ends it
	$(BIN)tollgate demo

test: ## all tests (more arguments: make test ARGS="-k invoice")
	$(PYTHON) -m tests $(ARGS)

check: ## the gate beside the tests: style, types, import order, migrations, translations, pins, licences
	$(BIN)ruff check .
	$(BIN)ruff format --check --quiet .
	$(BIN)mypy
	$(BIN)lint-imports
	@data=$$(mktemp -d); $(BIN)tollgate migrate --check --data $$data; status=$$?; rm -rf $$data; exit $$status
	$(PYTHON) tools/translations.py --check
	$(PYTHON) tools/constraints.py --check
	$(BIN)pip-licenses --partial-match --allow-only='$(LICENCES)' >/dev/null

licences: ## under which licence each dependency is
	$(BIN)pip-licenses

format: ## let ruff put the code in order
	$(BIN)ruff check --fix .
	$(BIN)ruff format .

bench: ## every benchmark, each against a floor of the same run
	@set -e; for file in benchmarks/bench_*.py; do $(PYTHON) "$$file"; done

proof: ## the long fault suites in the sizes of docs/reliability.md, and every planted bug
	@status=0; \
	TOLLGATE_PROOF=$${TOLLGATE_PROOF:-1} $(PYTHON) -m tests $(PROOFS) $(ARGS) || status=1; \
	$(PYTHON) -m tests.planted || status=1; \
	exit $$status

screenshots: ## take the pictures of the README anew
	$(PYTHON) tools/screenshots.py

translations: ## collect marked messages and compile the catalogs
	$(PYTHON) tools/translations.py

constraints: ## pin what this environment has of our requirements
	$(PYTHON) tools/constraints.py > constraints.txt.new && mv constraints.txt.new constraints.txt
