"""Vega-Lite specifications to pictures.

The library that draws holds the interpreter while it does, for tens of milliseconds, and the first
time for half a second. Who cannot wait runs this module as a process of its own: for each line on
its standard input, an object of `form` and `specification`, it writes to its standard output either
`ok LENGTH` and the picture, or `error LENGTH` and what went wrong.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import vl_convert

PictureFormat = Literal["svg", "png"]

VERSION = "6.4"
"""Of Vega-Lite."""
SCALE = 2.0
"""Pixels of a PNG to one of the chart, for screens that have so many."""


def draw(specification: dict[str, Any], form: PictureFormat) -> bytes:
    """Return the picture. It is made of what the specification holds: nothing is fetched.

    Raises:
        ValueError: it is no Vega-Lite specification.
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
    """Draw what is asked for until the standard input ends."""
    # Whatever else prints goes to the standard error.
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
