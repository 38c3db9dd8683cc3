"""Zip files of images, with a folder for each class."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

from ml.errors import Invalid
from ml.images.header import read_header
from ml.ingest.image_writer import Channels, ImageWriter
from ml.ingest.names import shown
from ml.ingest.options import Options
from ml.ingest.reading import reading
from ml.ingest.schema import ImageSchema
from ml.ingest.zip_safety import refusing_broken

MAX_MEMBERS = 1_000_000
MAX_FILE_BYTES = 50 * 1024 * 1024
MAX_PIXELS = 50_000_000
"""Maximum pixels of an image."""
ANY_PIXELS = 2_000_000_000
"""Pixels that the images of a zip file may have together, however small the file is."""
PIXELS_PER_BYTE = 50
"""Further pixels for each byte of the file. Photos have up to 25; images that take minutes to
decode and hold nothing have several hundred."""
MAX_PATH = 200
"""Characters of a path that messages show."""
JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}


def read(source: Path, into: Path, options: Options) -> ImageSchema:
    """Read the zip file `source` into the directory `into`. The images are stored as grey if all
    are grey, else in colour.

    Raises:
        Invalid: the file is corrupt or too large, a member's name or type is not allowed, or an
            image cannot be read; the message names it.
    """
    with refusing_broken(), ZipFile(source) as archive:
        labelled = _labelled(archive)
        images = [info for info, _ in labelled]
        # The first pass reads headers, without decoding; the second decodes and writes.
        shapes = _shapes(archive, images, ANY_PIXELS + PIXELS_PER_BYTE * source.stat().st_size)
        if options.image_size is None and len(shapes.sizes) > 1:
            (h, w), (other_h, other_w) = min(shapes.sizes), max(shapes.sizes)
            raise Invalid(
                f"has images of {len(shapes.sizes)} sizes, such as {h}x{w} and {other_h}x{other_w} "
                "(height x width); set image_size to resize them all"
            )
        size = options.image_size or list(next(iter(shapes.sizes)))
        classes = sorted({label for _, label in labelled})
        channels: Channels = 1 if shapes.are_grey else 3
        with ImageWriter(into, len(labelled), size, channels, classes) as writer:
            for info, label in labelled:
                with _naming(info):
                    writer.add(
                        writer.form.header(_file(archive, info), max_pixels=MAX_PIXELS), label
                    )
        return writer.schema()


@dataclass
class _Shapes:
    """Sizes and colours of the images seen so far."""

    sizes: set[tuple[int, int]] = field(default_factory=set)
    """Heights and widths."""
    are_grey: bool = True
    pixels: int = 0


def _shapes(archive: ZipFile, images: list[ZipInfo], max_pixels: int) -> _Shapes:
    shapes = _Shapes()
    for info in images:
        with _naming(info):
            header = read_header(_file(archive, info), max_pixels=MAX_PIXELS)
        shapes.sizes.add(header.size)
        shapes.are_grey = shapes.are_grey and header.is_grey
        shapes.pixels += header.pixels
        if shapes.pixels > max_pixels:
            raise Invalid(
                f"has images of over {max_pixels:,} pixels in all, the maximum for a file of this "
                "size; reduce them before the upload"
            )
    return shapes


def _file(archive: ZipFile, info: ZipInfo) -> bytes:
    with archive.open(info) as file:
        # The size in a zip's directory is not to be trusted.
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise Invalid(f"has over {MAX_FILE_BYTES:,} bytes, the maximum")
    return data


@contextmanager
def _naming(info: ZipInfo) -> Iterator[None]:
    """Begin the message of every `Invalid` raised in this context with the member's name."""
    try:
        with reading("the image"):
            yield
    except Invalid as error:
        raise Invalid(f"{shown(info.filename, MAX_PATH)}: {error.msg}") from None


def _labelled(archive: ZipFile) -> list[tuple[ZipInfo, str]]:
    """Return the images, each with its class, which is the name of its folder."""
    if len(archive.infolist()) > MAX_MEMBERS:
        raise Invalid(f"has over {MAX_MEMBERS:,} members, the maximum")
    found: list[tuple[ZipInfo, tuple[str, ...]]] = []
    for info in archive.infolist():
        _check_member(info)
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or JUNK.intersection(parts):
            continue
        found.append((info, parts))
    if not found:
        raise Invalid("has no images; put them into a folder for each class")
    depths = {len(parts) for _, parts in found}
    wanted = 3 if min(depths) == 3 and len({parts[0] for _, parts in found}) == 1 else 2
    for info, parts in found:
        if len(parts) != wanted:
            name = shown(info.filename, MAX_PATH)
            raise Invalid(f"{name} is not in the folder of a class, as cats/1.png is")
    return [(info, parts[-2]) for info, parts in found]


def _check_member(info: ZipInfo) -> None:
    name = info.filename
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/") or "\\" in name or ":" in name:
        raise Invalid(
            f"has a member {shown(name, MAX_PATH)} with a path outside the archive; rename it"
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Invalid(f"has a link, {shown(name, MAX_PATH)}; replace it by the file itself")
    if info.flag_bits & 1:
        raise Invalid(f"is encrypted ({shown(name, MAX_PATH)}); send it without a password")
