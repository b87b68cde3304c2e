# The two commands of a fresh clone are `make demo` and `make test`; each sets itself up.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# For the isolated build as well as for the install; pip before 25.3 reads only the first.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

.PHONY: help setup test lint test-base test-web test-arm demo bench-quick bench bench-distill clean

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile
	@echo "PYTHON=… and VENV=… choose the interpreter (now $(PYTHON)) and the environment (now $(VENV))"

setup: $(INSTALLED)  ## create the environment and install everything; instant when nothing changed

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("earkit needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@echo "setting up $(VENV); the first time this takes some minutes"
	$(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --editable '.[train,bench,search,dev]'
	@touch "$@"

test: setup lint  ## lint, check types, run all tests; ARGS="-k name" goes to pytest
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n 2 --dist loadfile $(ARGS)

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

bench-quick: setup  ## a small part of the benchmarks, below ten minutes on two idle cores; stores nothing
	"$(BIN)/python" -m earkit.benchmarks.synthetic_quality
	"$(BIN)/kit" corpus get kajongg digits
	"$(BIN)/python" -m earkit.benchmarks.peers get speech_embedding ecapa resemblyzer moonshine
	"$(BIN)/python" -m earkit.benchmarks.peers_quality --quick --html runs/bench-quick.html

# What is stored is kept, so that a run that was stopped goes on; without its file, a table is measured again.
# These store cell by cell, and then do what is missing:
DISTILLED := distill_quality strong_teacher embedding_quality two_teachers task_quality student_blocks elastic_quality \
	token_robustness
MODEL ?= tiny
measured = $(patsubst %,benchmarks/measured/%.json,$(1))

bench: setup  ## measure every table, about a day on two cores; MODEL=… is the model file that is priced
	$(MAKE) $(call measured,footprint)
	"$(BIN)/python" -m earkit.benchmarks.peers get
	"$(BIN)/kit" corpus get --eval --train
	for name in $(DISTILLED) quantize_quality prune_quality; do \
		"$(BIN)/python" -m earkit.benchmarks.$$name || exit 1; \
	done
	$(MAKE) $(call measured,pretrain_quality pretrain_throughput distill_throughput teacher_speed stream_cost search_speed)
	$(MAKE) $(call measured,sanity_figures)
	"$(BIN)/python" -m earkit.benchmarks.speech_models
	"$(BIN)/python" -m earkit.benchmarks.peers_quality
	$(MAKE) $(call measured,adaptive_embeddings)
	"$(BIN)/python" -m earkit.benchmarks.tables

bench-distill: setup  ## the part of it that is about distillation, hours on two cores
	"$(BIN)/python" -m earkit.benchmarks.peers get ecapa speech_embedding
	for name in $(DISTILLED); do "$(BIN)/python" -m earkit.benchmarks.$$name || exit 1; done
	$(MAKE) $(call measured,distill_throughput)
	"$(BIN)/python" -m earkit.benchmarks.tables

benchmarks/measured/%.json: | setup
	"$(BIN)/python" -m earkit.benchmarks.$*

benchmarks/measured/search_speed.json: | setup
	"$(BIN)/python" -m earkit.benchmarks.search_speed --store

benchmarks/measured/adaptive_embeddings.json: | setup
	"$(BIN)/python" -m earkit.benchmarks.adaptive_embeddings --model "$(MODEL)"

benchmarks/measured/footprint.json: | setup
	"$(BIN)/python" -m earkit.benchmarks.footprint "$(MODEL)"

clean:  ## remove what builds and tools leave; keeps the environment and your runs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path '*/.venv/*' -not -path './$(VENV)/*' -prune -exec rm -rf {} +
