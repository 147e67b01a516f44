# Each target works by itself on a machine with only Python (3.10 to 3.13) and make.
PYTHON ?= python3
BIN := .venv/bin
WHEEL_VENV ?= build/wheel-venv

.PHONY: install demo test nightly check lint types imports wheel-test bench clean

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: install  ## the whole job on the built-in digits
	$(BIN)/poolsearch run

# One thread per worker: the tests' networks are tiny, and two workers would fight for the cores
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

test: install  ## all tests, the slow ones too; COVERAGE=1 also tells the share of lines that they run in their own process
	$(PYTEST) -m 'not nightly' --dist worksteal $(if $(COVERAGE),--cov --cov-report=)
	@$(if $(COVERAGE),echo "Lines of poolsearch run by the tests in their own process: $$($(BIN)/coverage report --format=total) %",:)

nightly: install  ## what takes hours: the proof of restriding for every placement of large spaces, more kills, more examples
	$(PYTEST) -m nightly

check: lint types imports  ## what pre-commit checks, too

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/basedpyright --pythonpath $(BIN)/python

imports: install
	$(BIN)/lint-imports

# The wheel is run as a user has it: without tools of development, and outside of this folder
wheel-test:  ## builds the wheel, installs it alone into WHEEL_VENV, which is made anew, and runs it
	rm -rf build/wheel
	$(PYTHON) -m venv --clear $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(WHEEL_VENV)/bin/python -m pip install --quiet build/wheel/*.whl
	tests/wheel.sh $(abspath $(WHEEL_VENV))/bin

bench: install  ## ratios on this machine, into docs/results/bench.md; nothing else should run beside it
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf .venv build
