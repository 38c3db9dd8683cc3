"""Render Vega-Lite specifications as SVG or PNG.

The rendering library holds the GIL for tens of milliseconds, and for half a second at first use. A
server therefore runs this module as a child process: for each line on stdin, a JSON object with
`form` and `specification`, it writes to stdout either `ok LENGTH` and the picture, or
`error LENGTH` and the error message.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import vl_convert

PictureFormat = Literal["svg", "png"]

VERSION = "6.4"
"""Version of Vega-Lite."""
SCALE = 2.0
"""PNG pixels per chart pixel, for high-density screens."""


def draw(specification: dict[str, Any], form: PictureFormat) -> bytes:
    """Return the rendered picture. External data and images are not fetched.

    Raises:
        ValueError: `specification` is not a Vega-Lite specification.
    """
    return _DRAWERS[form](specification)


def _svg(specification: dict[str, Any]) -> bytes:
    svg = vl_convert.vegalite_to_svg(specification, vl_version=VERSION, allowed_base_urls=[])
    return svg.encode()


def _png(specification: dict[str, Any]) -> bytes:
    return vl_convert.vegalite_to_png(
        specification, vl_version=VERSION, scale=SCALE, allowed_base_urls=[]
    )


_DRAWERS: Mapping[PictureFormat, Callable[[dict[str, Any]], bytes]] = {"svg": _svg, "png": _png}


def main() -> None:
    """Serve requests until stdin ends."""
    # Anything else printed to stdout is sent to stderr.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            word, answer = "ok", draw(request["specification"], request["form"])
        except ValueError as error:
            word, answer = "error", str(error).encode()
        replies.write(f"{word} {len(answer)}\n".encode() + answer)
        replies.flush()


if __name__ == "__main__":
    main()
