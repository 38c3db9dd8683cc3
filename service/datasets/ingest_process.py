"""The process that reads one uploaded file: see `ml.ingest`. Torch is not imported here."""

import sys

from ml.ingest.__main__ import main
from service.processes import die_with

if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    main()
