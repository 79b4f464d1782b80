# Two commands on a fresh machine: make demo, make test. Both make the environment they need.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
COURSE ?=
LABS   ?= 01
CODE    = labsupport tests

.PHONY: env demo test test-fast lint format lab bench build clean help

help:
	@echo "make demo               one lab's class, from source to grades.csv"
	@echo "                        (LABS=all: every lab's; COURSE=DIR: in DIR)"
	@echo "make test               every test"
	@echo "make lab                JupyterLab on a working copy of the notebooks"
	@echo "make bench              benchmarks, side by side in one run"
	@echo "make build              rebuild notebooks/, solutions/*.ipynb and environment.yml"
	@echo "For whoever changes the code (CONTRIBUTING.md):"
	@echo "make test-fast          what needs no kernel, in less than two minutes"
	@echo "make lint               style, layout, floors, types"
	@echo "make format             bring the code into its layout"

env: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is %d.%d: make PYTHON=/path/to/python3" % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	@echo "Making the environment in $(VENV) (PyTorch is large; this takes minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[grading,dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/labs demo $(COURSE) $(foreach lab,$(LABS),--lab $(lab))

# two processes on two cores, one thread each: torch's threads would wait for one another
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" tests/unit tests/parity

lint: $(READY)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix --exit-zero --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

lab: $(READY)
	$(BIN)/labs start

bench: $(READY)
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

build: $(READY)
	$(BIN)/labs build --execute

clean:
	rm -rf $(VENV) dist build
