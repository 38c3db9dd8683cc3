# Two commands: `make serve` and `make test`. Both set up .venv first, and only when it is out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCHES := training engines sweeps service

.PHONY: serve test check format soak bench gpu gpu-wheels clean

serve: $(READY)
	$(BIN)/epochd serve

# Two at a time, one thread each: tests wait for processes half of their time.
test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(READY)
	$(BIN)/pytest -m soak --timeout=7200 --capture=no tests/soak

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	mkdir -p benchmarks/results
	OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.training --json benchmarks/results/training-2.json
	for what in $(BENCHES); do \
		echo "== $$what"; $(BIN)/python -m benchmarks.$$what --json benchmarks/results/$$what.json || exit 1; \
	done
	echo "== serving"; $(BIN)/python -m benchmarks.serving --rivals --json benchmarks/results/serving.json

# Eight minutes at most. A machine that lacks packages needs only `python3 -m benchmarks.gpu` and wheels/.
gpu: $(READY)
	$(BIN)/python -m benchmarks.gpu

# What a machine with Python 3.12 and PyTorch may lack, for it to be carried there.
gpu-wheels: $(READY)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --dest wheels --no-deps --only-binary=:all: \
		--python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
		--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
		--platform any --constraint constraints.txt --requirement benchmarks/gpu/wheels.txt

clean:
	rm -rf $(VENV) benchmarks/results/environments .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "epochd needs Python 3.11 or newer"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
