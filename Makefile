# Two commands: `make serve` and `make test`. Each sets up .venv first, as far as it needs it, and only when
# it is out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
# Two stamps: .serve for what the service needs, .ready for what tests and checks need besides.
SERVE := $(VENV)/.serve
READY := $(VENV)/.ready
# Each process that the service or a test starts would compile all its modules again.
export PYTHONDONTWRITEBYTECODE =
BENCHES := training engines sweeps service quality

.PHONY: serve test check format docs soak bench gpu gpu-wheels clean

serve: $(SERVE)
	$(BIN)/epochd serve

# Two at a time, one thread each: tests wait for processes half of their time. Files keep their order.
test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations=10

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The tables of docs/reference that the code itself knows.
docs: $(READY)
	$(BIN)/python docs/generate.py

soak: $(READY)
	$(BIN)/pytest -m soak --timeout=7200 --capture=no tests/soak

bench: $(READY)
	$(PIP) --quiet --editable '.[dev,bench]'
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

$(SERVE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "epochd needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what epochd needs into $(VENV): 6 GB, most of it CUDA. Without a GPU 1.5 GB are enough:"
	@echo "set PIP_EXTRA_INDEX_URL to the index of CPU wheels that PyTorch's installation page names."
	$(PIP) --editable .
	@touch $@

$(READY): $(SERVE)
	@echo "Installing what the tests need besides: 0.4 GB."
	$(PIP) --editable '.[dev]'
	@touch $@
