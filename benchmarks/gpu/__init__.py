"""Measurements and tests on a GPU machine in eight minutes: `python -m benchmarks.gpu`."""
