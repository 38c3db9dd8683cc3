"""Measure and test on a GPU, the most informative parts first, in at most eight minutes.

    python -m benchmarks.gpu [--device cuda] [--quick] [--budget 480] [--only PART ...]
                             [--wheels DIR] [--json FILE]

Each part runs in its own process under a time limit; a failed part does not stop the others. The
JSON file is rewritten after each part, so an interrupted run loses only the current part. Missing
packages are installed from `wheels/` (filled by `make gpu-wheels`) into a temporary directory. The
exit code is 1 if a part failed; a missed goal is not a failure.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from benchmarks.gpu import runner
from benchmarks.gpu.plan import PLAN
from benchmarks.gpu.wheels import installed

REPOSITORY = Path(__file__).parents[2]


def main() -> None:
    start = time.monotonic()
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="use small sizes, to test the script")
    parser.add_argument("--budget", type=float, default=480, help="total time in seconds")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PLAN], metavar="PART")
    parser.add_argument("--wheels", type=Path, default=REPOSITORY / "wheels")
    parser.add_argument(
        "--json", type=Path, default=REPOSITORY / "benchmarks" / "results" / "gpu.json"
    )
    options = parser.parse_args()
    # Exit by exception, so that the current part is stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    plan = [part for part in PLAN if not options.only or part.name in options.only]
    with installed(options.wheels) as site:
        succeeded = runner.run(
            plan,
            runner.Settings(
                options.device,
                options.quick,
                deadline=start + options.budget,
                json=options.json,
                path=[REPOSITORY, *site],
            ),
        )
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
