# Everything runs in .venv, made from requirements.lock; bytecode is compiled at install, which halves every start.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# pytest rewrites each test's assertions, in every worker, unless it may keep what came of it.
unexport PYTHONDONTWRITEBYTECODE
# Three processes, each with engines of its own: tests with a daemon wait much. Each takes the next test when it is free;
# tests/selection.py says which come first and which stay together.
PYTEST := pytest -n 3 --dist loadscope --no-loadscope-reorder --durations 10
INSTALLED := $(VENV)/.installed
SELF := $(MAKE)

# Lint runs beside the tests, which wait much; what it says comes after theirs.
define lint-beside
@said=$$(mktemp); $(SELF) --no-print-directory lint >$$said 2>&1 & lint=$$!; \
$(1); tests=$$?; wait $$lint; linted=$$?; cat $$said; rm $$said; [ $$tests$$linted = 00 ]
endef

MANIFESTS = for overlay in deploy/kubernetes/base deploy/kubernetes/overlays/*; do kubectl kustomize $$overlay && echo ---; done \
	| kubernetes-validate --strict --quiet -

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-all check lint format lock image base-image test-image sbom clean

help: ## What can be done here
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Run the whole pipeline once on embedded engines and show what came out
	@analytics-pipeline demo

dev: $(INSTALLED) ## The Dagster UI on the embedded engines, with demo data (Ctrl-C stops everything)
	@exec analytics-pipeline dev

test: $(INSTALLED) ## Lint, types and the whole suite but its slowest proofs
	$(call lint-beside,$(PYTEST) -m "not slow")

test-all: export THOROUGH := 1
test-all: $(INSTALLED) ## The same with the slow proofs, and all of each (tests/thorough.py)
	$(call lint-beside,$(PYTEST))

check: $(INSTALLED) ## Lint, types, and the tests that start no engine; what has changed comes first, with all its tests
	$(call lint-beside,$(PYTEST) -m "not slow" --quick)

lint: $(INSTALLED) ## Ruff, strict types, SQL lint, and whether Dagster can load the project
	ruff check .
	ruff format --check .
	sqlfluff lint --disable-progress-bar -q analytics_pipeline docs/example
	mypy
	hadolint Dockerfile deploy/dagster-plus/Dockerfile
	check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose/compose*.yaml
	$(if $(shell command -v kubectl),$(MANIFESTS),@echo "deploy/kubernetes was not validated: there is no kubectl")
	dg check toml
	@home=$$(mktemp -d) && echo 'telemetry: {enabled: false}' >$$home/dagster.yaml \
		&& echo dg check defs && DAGSTER_HOME=$$home dg check defs; status=$$?; rm -r $$home; exit $$status

format: $(INSTALLED) ## Format the code
	ruff check --fix .
	ruff format .

# Where images come from a registry of your own: make image BASE_IMAGE=… Where packages do: PIP_CONF=… CA=… (files).
ENGINE = $(or $(shell command -v podman || command -v docker),$(error there is neither podman nor docker))
IMAGE ?= localhost/analytics-pipeline:dev
LOCK ?= requirements-deploy.lock
BUILD = $(ENGINE) build --network host $(CONTAINER_FLAGS) --build-arg LOCK=$(LOCK) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
	--build-arg VERSION=$$(git describe --always --dirty 2>/dev/null || echo unknown) \
	$(if $(PIP_CONF),--secret id=pip$(comma)src=$(PIP_CONF)) $(if $(CA),--secret id=ca$(comma)src=$(CA)) --tag $(IMAGE) .
comma := ,

image: ## Build the container image with podman or docker
	$(BUILD)

base-image: ## Make a base image from Debian's packages, where no registry of images can be reached
	deploy/image/debian-base localhost/debian-python

test-image: $(INSTALLED) ## Build the image and run all of it as containers against the embedded engines
	@if command -v podman >/dev/null || command -v docker >/dev/null; then $(SELF) image && \
		ANALYTICS_IMAGE=$(IMAGE) CONTAINER_FLAGS="$(CONTAINER_FLAGS)" pytest --durations 10 tests/image; \
	else echo "Skipped: there is neither podman nor docker, so nothing of the image was tested"; fi

sbom: $(INSTALLED) ## List what the image holds: build/sbom.cdx.json (CycloneDX) and build/licences.md
	rm -rf build/deployed && mkdir -p build && $(PYTHON) -m venv build/deployed
	build/deployed/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --output-file build/sbom.cdx.json build/deployed
	pip-licenses --python build/deployed/bin/python --format markdown --with-urls --order name --output-file build/licences.md
	rm -r build/deployed

# What is pinned for deployments is what the tests ran with.
COMPILE = $(VENV)/uv/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-strip-extras \
	--no-emit-index-url --no-emit-package analytics-pipeline-sdk --no-emit-find-links --no-header pyproject.toml

lock: $(INSTALLED) ## Renew the lock files after a change of pyproject.toml
	$(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/pip install --quiet uv
	$(COMPILE) --all-extras --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock --output-file requirements-deploy.lock
	$(COMPILE) --extra kubernetes --constraint requirements-deploy.lock --output-file requirements-kubernetes.lock

clean: ## Remove everything that was made here: engines, their data, the environment, caches
	@if [ -x $(BIN)/analytics-pipeline ]; then analytics-pipeline stack down --home .analytics; fi
	rm -rf .analytics $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info sdk/build sdk/src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements.lock pyproject.toml sdk/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV); this takes a few minutes the first time …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ./sdk -e .
	@$(BIN)/python -m compileall -q analytics_pipeline sdk/src
	@touch $@
