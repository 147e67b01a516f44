# Each target works by itself on a machine with only Python (3.10 to 3.13) and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test nightly check bench clean

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: install  ## the whole job on the built-in digits
	$(BIN)/poolsearch run

# One thread per worker: the tests' networks are tiny, and two workers would fight for the cores
test: install  ## all tests, the slow ones too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not nightly' -n auto --maxprocesses 4 --dist worksteal

nightly: install  ## the proof of restriding for every placement of large spaces
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m nightly -n auto --maxprocesses 4

check: install  ## lint, format, types, import direction
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: install  ## ratios on this machine, into docs/results/bench.md; nothing else should run beside it
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf .venv
