# Commands for people and CI. Each target installs what it needs first and is quick if nothing changed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup check unit blackbox fuzz test demo demo-down coverage bench image plugin lock dashboards sync-crds reference chart-readme

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(shell cat requirements-dev.lock | sha256sum | cut -c1-16)
export PYTHONPATH := operator:.
# whatever the caller's says: a process that finds modules and tests compiled begins in half the time
export PYTHONDONTWRITEBYTECODE :=

help: ## Print what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP):
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, found $$(python3 --version)"; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || { \
		echo "installing python3-venv"; \
		{ apt-get update && apt-get install -y --no-install-recommends python3-venv; } > /tmp/relay-python3-venv.log 2>&1 \
		|| { cat /tmp/relay-python3-venv.log; exit 1; }; }
	@python3 -m tests.kept take tools || { \
		echo "installing the development tools into $(VENV), about a minute"; \
		python3 -m venv --clear $(VENV); \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock; \
		python3 -m tests.kept keep tools; }
	@touch $@

setup: $(STAMP) ## Install the Python environment (hash-pinned) into .venv

check: setup ## Format, lint, types and import contracts
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	@$(PYTHON) -m tests.kept take types
	$(VENV)/bin/mypy
	@$(PYTHON) -m tests.kept keep types
	$(VENV)/bin/lint-imports --no-cache --no-logo

unit: setup ## Unit tests alone, three to four minutes on two cores; ONLY="tests/unit/relay -k limits" for some
	$(PYTHON) -m pytest -q $(or $(ONLY),-n 2 tests/unit)

blackbox: setup ## Black-box tests against the relay as sources and with its hot path compiled
	$(PYTHON) -m tests.tiers --tier blackbox --tier compiled

fuzz: export FUZZ_SECONDS := $(or $(FUZZ_SECONDS),60)
fuzz: setup ## Fuzz what is C with sanitizers, then the relay from both sides; FUZZ_SECONDS=60 for each of eleven runs
	$(PYTHON) -m pytest -q -s tests/simulation/relay/dialect tests/simulation/relay/outbox
	$(PYTHON) -m pytest -q -s tests/blackbox/test_fuzzing.py
	RELAY_BLACKBOX_COMMAND="env PYTHONPATH=$$($(PYTHON) -m tests.blackbox.compiled) $(PYTHON) -m relay" \
		$(PYTHON) -m pytest -q -s tests/blackbox/test_fuzzing.py

# with ONLY= one pytest run, and nothing is built that its tests do not need
test: $(if $(ONLY),setup,check) ## All tests; builds a real cluster (8 to 13 minutes once); ONLY=path for some
	$(PYTHON) -m tests.tiers $(if $(ONLY),--only '$(ONLY)')

coverage: setup ## Branch coverage of the tiers that run our code in the tests' own processes, a table by package
	$(PYTHON) -m tests.tiers --coverage

demo: ## Show a canary promoted, one rolled back and one kept, on a real Kubernetes; KEEP=1 leaves the cluster to play with
	@python3 -m tests.demo.plan $(if $(KEEP),--keep)
	@$(MAKE) --silent --no-print-directory setup
	@$(PYTHON) -m tests.demo $(if $(KEEP),--keep)

demo-down: setup ## Remove the demonstration's cluster and its files
	@$(PYTHON) -m tests.demo --down

bench: setup ## Side-by-side benchmarks; ONLY=relay, isolation, slo, healthy, rollback, leadership, tenants, fleet, ledger, estimates or tools for one
	$(PYTHON) -m bench $(ONLY)

image: setup ## Build the images (no Docker needed) into the cache
	tests/cluster/kind build images

plugin: ## Build kubectl relay, its completion and the archive and manifest for krew into dist/
	@python3 operator/plugin_build.py

lock: setup ## Resolve the lock files anew from pyproject.toml
	$(PYTHON) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile pyproject.toml --group dev --extra ledger --generate-hashes --no-header --no-annotate --python-version 3.11 -q -o requirements-dev.lock
	$(VENV)/bin/uv pip compile pyproject.toml --extra ledger -c requirements-dev.lock --generate-hashes --no-header --no-annotate --python-version 3.11 -q -o requirements.lock
	echo checkov==3.3.30 | $(VENV)/bin/uv pip compile - --generate-hashes --no-header --no-annotate --python-version 3.11 -q -o tests/chart/linters/checkov.lock
	echo bpe-openai==0.1.4 | $(VENV)/bin/uv pip compile - --generate-hashes --no-header --no-annotate --python-version 3.11 -q -o bench/estimates/tokenizer.lock
	printf "mcp==2.3.0\nmcp-server-time==2026.10.19\n" | $(VENV)/bin/uv pip compile - --generate-hashes --no-header --no-annotate --python-version 3.11 -q -o tests/blackbox/mcp_python/mcp.lock
	for packages in node mcp_node; do npm install --prefix tests/blackbox/$$packages --package-lock-only --ignore-scripts --no-audit --omit-lockfile-registry-resolved; done

dashboards: setup ## Write the chart's dashboards from tests/dashboards
	$(PYTHON) -m tests.dashboards

sync-crds: ## Copy crds/ into the chart
	cp crds/*.yaml charts/relay-operator/crds/

reference: setup ## Write docs/reference anew from the code and the custom resource definitions
	$(PYTHON) -m tests.pages.reference

chart-readme: setup ## Write the chart's README from its values (helm-docs)
	$(PYTHON) -c 'from pathlib import Path; from tests.chart.linters.programs import helm_docs; c = Path("charts/relay-operator"); (c / "README.md").write_text(helm_docs(c))'
