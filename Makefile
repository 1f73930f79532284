# The verbs of this project; `make` alone prints them.
PYTHON ?= python3.11
TORCH_INDEX ?=
INSTALL = -m pip install -q --no-compile $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PIP = .venv/bin/python $(INSTALL)
RUN = .venv/bin/python
WORKERS ?= 2
NEWEST = .venv-newest/bin/python
PINS ?=
README = tests/test_docs.py::test_every_block_runs[README.md]
SMOKE ?= tests/test_acceptance.py tests/test_estimator.py tests/test_bad_input.py tests/cli

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow test-newest fix check bench clean

help:           ## print the verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

.venv/.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python 3.11 with venv is needed: on Debian, apt-get install python3.11 python3.11-venv"; exit 1; }
	@echo "installing into .venv (once; about a minute)"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) -c constraints.txt -e '.[test,dev,export]'
	@touch $@

.venv/.kernels: .venv/.done $(wildcard src/clicksmith/kernels/*.c) src/clicksmith/kernels/build.py
	@$(RUN) -m clicksmith.kernels.build
	@touch $@

quickstart: .venv/.kernels  ## install, then the main job end to end: raw rows in, a scored, calibrated model out
	$(RUN) -m clicksmith.cli.main quickstart --out quickstart

test: .venv/.kernels        ## install, then every test but the slow ones
	$(RUN) -m pytest -n $(WORKERS) --dist loadgroup -m "not slow" $(ARGS)

test-slow: .venv/.kernels   ## published numbers on real data
	$(RUN) -m pytest -m slow $(ARGS)

test-newest:    ## a fresh install of the newest dependencies (but PINS="name==version ..."), then the README and SMOKE tests
	rm -rf .venv-newest build
	$(PYTHON) -m venv .venv-newest
	$(NEWEST) $(INSTALL) '.[test,export]' $(PINS)
	$(NEWEST) -m pip check
	$(NEWEST) -m pip freeze
	$(NEWEST) -m pytest -n $(WORKERS) --dist loadgroup -m "not slow and not browser" "$(README)" $(SMOKE)

fix: .venv/.done            ## format and mend what can be mended
	$(RUN) -m ruff format src tests benchmarks
	$(RUN) -m ruff check --fix src tests benchmarks

check: .venv/.done          ## verify format, lints, types and the import contract
	$(RUN) -m ruff format --check src tests benchmarks
	$(RUN) -m ruff check src tests benchmarks
	$(RUN) -m pyright
	.venv/bin/lint-imports

bench: .venv/.kernels       ## every benchmark, one after another; run on a quiet machine
	sh benchmarks/run_all.sh

clean:          ## remove what was built (not .venv)
	rm -rf .venv-newest build dist src/*.egg-info src/clicksmith/kernels/*.so quickstart
