"""Run one part in this process: `python -m benchmarks.gpu.part MODULE:FUNCTION`."""

import argparse
import importlib
import time
import traceback
from pathlib import Path

import torch

from benchmarks.gpu.session import Failed, LeftOut, Session


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("measure")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    session = Session(device, options.quick, options.out, time.monotonic() + options.limit)
    module, _, function = options.measure.partition(":")
    try:
        if device.type == "cuda":
            torch.cuda.set_device(torch.device("cuda", device.index or 0))
            torch.zeros((), device=device)
        getattr(importlib.import_module(module), function)(session)
    except LeftOut as reason:
        print(f"left out: {reason}")
        session.end("left out", str(reason))
    except Failed as reason:
        session.end("failed", str(reason))
    except BaseException:
        traceback.print_exc()
        session.end("failed", traceback.format_exc())
    else:
        session.end("ran")


if __name__ == "__main__":
    main()
