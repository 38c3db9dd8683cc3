"""Zip files of images, with a folder for each class."""

import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

from ml.errors import Invalid
from ml.images.decode import Picture, decode_picture
from ml.ingest.image_writer import Channels, ImageWriter
from ml.ingest.options import Options
from ml.ingest.schema import ImageSchema
from ml.ingest.zip_safety import refusing_broken

MAX_MEMBERS = 1_000_000
MAX_FILE_BYTES = 50 * 1024 * 1024
MAX_PIXELS = 50_000_000
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
        pictures = _pictures(archive, labelled)
        # The first pass finds sizes and colours; the second writes.
        shapes = {picture.shape for picture in pictures}
        channels: Channels = 3 if any(len(shape) == 3 for shape in shapes) else 1
        sizes = {shape[:2] for shape in shapes}
        if options.image_size is None and len(sizes) > 1:
            (h, w), (other_h, other_w) = sorted(sizes)[0], sorted(sizes)[-1]
            raise Invalid(
                f"has images of {len(sizes)} sizes, such as {h}x{w} and {other_h}x{other_w} "
                "(height x width); set image_size to resize them all"
            )
        size = options.image_size or list(next(iter(sizes)))
        classes = sorted({label for _, label in labelled})
        with ImageWriter(into, len(labelled), size, channels, classes) as writer:
            for picture, (_, label) in zip(_pictures(archive, labelled), labelled, strict=True):
                writer.add(picture, label)
        return writer.schema()


def _pictures(archive: ZipFile, labelled: list[tuple[ZipInfo, str]]) -> Iterator[Picture]:
    for info, _ in labelled:
        with archive.open(info) as file:
            # The size in a zip's directory is not to be trusted.
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise Invalid(f"{info.filename!r} has over {MAX_FILE_BYTES:,} bytes, the maximum")
        try:
            yield decode_picture(data, max_pixels=MAX_PIXELS)
        except Invalid as error:
            raise Invalid(f"{info.filename!r}: {error.msg}") from None


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
            raise Invalid(f"{info.filename!r} is not in the folder of a class, as cats/1.png is")
    return [(info, parts[-2]) for info, parts in found]


def _check_member(info: ZipInfo) -> None:
    name = info.filename
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/") or "\\" in name or ":" in name:
        raise Invalid(f"has a member {name[:200]!r} with a path outside the archive; rename it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Invalid(f"has a link, {name[:200]!r}; replace it by the file itself")
    if info.flag_bits & 1:
        raise Invalid(f"is encrypted ({name[:200]!r}); send it without a password")
