"""Environment of trainers in which the number of threads does not change matrix products."""

import os
from pathlib import Path

VARIABLE = "MKL_CBWR"
STRICT = "AUTO,STRICT"
"""Instruction set as usual, and sums in an order that does not depend on the number of threads. It
costs nothing measurable, and holds for matrix products with AVX2 or AVX-512: see "Strict CNR Mode"
in Intel's guide to MKL."""


def environment(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return the variables for this machine's CPU, unless the operator has set them. On CPUs of
    others MKL might choose its slowest instruction set, so there are none."""
    if VARIABLE in os.environ:
        return {}
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return {}
    fields = {key.strip(): value for key, _, value in (line.partition(":") for line in lines)}
    is_intel = fields.get("vendor_id", "").strip() == "GenuineIntel"
    return {VARIABLE: STRICT} if is_intel and "avx2" in fields.get("flags", "").split() else {}
