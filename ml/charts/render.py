"""Render Vega-Lite specifications as SVG or PNG.

The rendering library holds the GIL for tens of milliseconds, and for half a second at first use. A
server therefore runs this module as a child process: for each line on stdin, a JSON object with
`form` and `specification`, it writes to stdout either `ok LENGTH` and the picture, or
`error LENGTH` and the error message.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import vl_convert

PictureFormat = Literal["svg", "png"]

VERSION = "6.4"
"""Version of Vega-Lite."""
SCALE = 2.0
"""PNG pixels per chart pixel, for high-density screens."""
FACES = ("SC", "", "JP", "KR", "TC")
"""Faces of Kurinto Sans for characters that the renderer's own fonts lack, in order of preference:
simplified Chinese, scripts without a face of their own, Japanese, Korean, traditional Chinese."""
KURINTO = "static/weblate_fonts/kurinto/ttf"
"""Directory of the faces, relative to the package."""


def draw(specification: dict[str, Any], form: PictureFormat) -> bytes:
    """Return the rendered picture. External data and images are not fetched.

    Raises:
        ValueError: `specification` is not a Vega-Lite specification.
    """
    _register_fonts()
    return _DRAWERS[form](specification)


def _svg(specification: dict[str, Any]) -> bytes:
    return _laid_out(json.dumps(specification)).encode()


def _png(specification: dict[str, Any]) -> bytes:
    return vl_convert.svg_to_png(_laid_out(json.dumps(specification)), scale=SCALE)


@lru_cache(maxsize=4)
def _laid_out(specification: str) -> str:
    """Return the SVG, from which a PNG is made too: layout takes most of the time, and many who ask
    for one form of a chart ask for the other."""
    return vl_convert.vegalite_to_svg(specification, vl_version=VERSION, allowed_base_urls=[])


@cache
def _register_fonts() -> None:
    """Register the fonts of other scripts. In an SVG, they only measure texts: the program that
    shows it has fonts of its own."""
    # The package itself is for Django: importing it would need that.
    package = find_spec("weblate_fonts")
    assert package
    [root] = package.submodule_search_locations or []
    # The renderer searches registered fonts in order, and takes bold ones for regular ones.
    # Where no directory can be made, charts in the scripts of Europe are drawn all the same.
    with suppress(OSError), tempfile.TemporaryDirectory() as directory:
        for number, face in enumerate(FACES):
            link = Path(directory, str(number), "font.ttf")
            link.parent.mkdir()
            link.symlink_to(Path(root, KURINTO, f"KurintoSans{face}-Rg.ttf"))
            vl_convert.register_font_directory(str(link.parent))


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
