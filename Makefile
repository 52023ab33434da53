# Everything below makes the virtual environment and installs what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The torch build the tests are run with; any torch from 2.3 on works for users.
TORCH ?= torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help demo devnet demo-devnet test check lint types imports bench faults vectors contracts contracts-test dashboard node-programs clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo ## Train, track, anchor on three embedded networks, verify, report
	$(BIN)/python scripts/demo_blockchain_provenance.py

devnet: $(VENV)/.devnet ## Start real Ethereum, Bitcoin and IPFS nodes on this machine
	$(BIN)/mrv devnet up

demo-devnet: devnet ## The demonstration, anchored on the real nodes of the devnet
	$(BIN)/python scripts/demo_blockchain_provenance.py --config .devnet/blockchain_config.devnet.json

test: $(VENV)/.dev node-programs ## Run the whole test suite, real programs included
	$(BIN)/python -m pytest -n auto

check: lint types imports test ## Lint, types, import contracts and tests

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

bench: $(VENV)/.bench ## Measure speed and memory side by side with the peers
	$(BIN)/python -m benchmarks

faults: $(VENV)/.dev node-programs ## Every fault at every place on the real networks: a table of what was lost or doubled
	rm -f faults.jsonl
	MRV_FAULTS=all MRV_FAULTS_TALLY=$(CURDIR)/faults.jsonl $(BIN)/python -m pytest tests/faults -n auto -p no:cacheprovider; \
		status=$$?; $(BIN)/python tests/faults/tally.py faults.jsonl && exit $$status

vectors: $(VENV)/.dev ## Write tests/vectors again from the standards' text
	$(BIN)/python scripts/generate_vectors.py

contracts-test: node-programs ## Fuzz the contracts as long as before a release
	cd contracts && FOUNDRY_PROFILE=release ../tests/node/node_modules/.bin/forge test --fuzz-seed $$(date +%s)

contracts: tests/node/node_modules/.installed ## Compile the contracts into their committed artifacts
	node contracts/compile.mjs

dashboard: dashboard/node_modules/.installed ## Build the dashboard into the page that the package ships
	cd dashboard && npm run --silent build

node-programs: tests/node/node_modules/.installed dashboard/node_modules/.installed $(VENV)/.dev ## Install the compilers and nodes that the tests run
	$(BIN)/python -m mrv_devnet.programs

tests/node/node_modules/.installed: tests/node/package.json tests/node/package-lock.json
	cd tests/node && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

dashboard/node_modules/.installed: dashboard/package.json dashboard/package-lock.json
	cd dashboard && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11 to 3.13 is needed; name one with 'make PYTHON=python3.11 ...'"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.devnet: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet -e '.[demo,btc,ipfs]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet '$(TORCH)' -e '.[dev]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet '$(TORCH)' -e '.[bench]'
	touch $@

clean: ## Remove what the targets above made
	! [ -x $(BIN)/mrv ] || $(BIN)/mrv devnet down
	rm -rf $(VENV) .devnet tests/node/node_modules dashboard/node_modules contracts/build artifacts
