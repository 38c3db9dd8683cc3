"""Measure and test on a GPU, the most telling first, in eight minutes at most.

    python -m benchmarks.gpu [--device cuda] [--quick] [--budget 480] [--only PART ...]
                             [--wheels DIR] [--json FILE]

Each part runs in a process of its own under a time limit; one that fails does not stop the rest.
The JSON file is written again after each part, so that a run that is cut short loses only the part
under way. Packages that the machine lacks are installed from `wheels/` (`make gpu-wheels` fills it)
into a temporary directory. The exit code is 1 if a part failed; a missed goal is not a failure.
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
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--budget", type=float, default=480, help="seconds in all")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PLAN], metavar="PART")
    parser.add_argument("--wheels", type=Path, default=REPOSITORY / "wheels")
    parser.add_argument(
        "--json", type=Path, default=REPOSITORY / "benchmarks" / "results" / "gpu.json"
    )
    options = parser.parse_args()
    # Stopped from outside, it still ends the part under way.
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
