# The two commands of a fresh clone are `make demo` and `make test`; each sets itself up.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# For the isolated build as well as for the install; pip before 25.3 reads only the first.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

.PHONY: help setup test lint test-base test-web test-arm demo bench-distill clean

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo "PYTHON=… and VENV=… choose the interpreter (now $(PYTHON)) and the environment (now $(VENV))"

setup: $(INSTALLED)  ## create the environment and install everything; instant when nothing changed

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("earkit needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@echo "setting up $(VENV); the first time this takes some minutes"
	$(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --editable '.[train,bench,search,dev]'
	@touch "$@"

test: setup lint  ## lint, check types, run all tests; ARGS="-k name" goes to pytest
	"$(BIN)/python" -m pytest $(ARGS)

lint: setup  ## check style, format and types
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

test-base:  ## install the base wheel alone into an empty environment and try it
	$(PYTHON) .ci/test_base.py

test-web: setup  ## try the page in examples/web in headless Chromium, which it fetches where there is none
	"$(BIN)/python" .ci/test_web.py

test-arm: setup  ## compare model files on emulated ARM processors with x86, after fetching the emulator
	"$(BIN)/python" .ci/test_arm.py

demo: setup  ## run the main job end to end on the built-in synthetic speech
	"$(BIN)/kit" demo

bench-distill: setup  ## measure distillation again, hours on two cores; what is stored already is kept
	"$(BIN)/python" -m earkit.benchmarks.peers get ecapa speech_embedding
	for name in distill_quality embedding_quality two_teachers task_quality student_blocks \
		elastic_quality token_robustness distill_throughput; do \
		"$(BIN)/python" -m earkit.benchmarks.$$name || exit 1; \
	done
	"$(BIN)/python" -m earkit.benchmarks.tables

clean:  ## remove what builds and tools leave; keeps the environment and your runs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path '*/.venv/*' -not -path './$(VENV)/*' -prune -exec rm -rf {} +
