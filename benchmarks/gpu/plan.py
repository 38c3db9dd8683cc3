"""The parts, in the order of execution."""

from typing import NamedTuple


class Part(NamedTuple):
    """A measurement that runs in its own process."""

    name: str
    title: str
    measure: str
    """`module:function` to call with a Session."""
    limit: float
    """Time limit in seconds."""


PLAN = (
    Part("profile", "kernels of a step", "benchmarks.gpu.profiling:measure", 60),
    Part("steps", "the MNIST network, step by step", "benchmarks.gpu.steps:measure", 120),
    Part("tests", "tests of the engines", "benchmarks.gpu.checks:core", 120),
    Part("jobs", "20 jobs in one process, and a pause", "benchmarks.gpu.jobs:measure", 75),
    Part("sweep", "64 models as one", "benchmarks.gpu.sweep:measure", 60),
    Part("networks", "cnn and resnet18", "benchmarks.gpu.networks:measure", 75),
    Part("service", "a job through the service", "benchmarks.gpu.served:measure", 75),
    Part("more tests", "all other tests on the GPU", "benchmarks.gpu.checks:others", 180),
)
