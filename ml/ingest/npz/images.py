"""Images and labels of an NPZ file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from numpy.typing import NDArray

from ml.errors import Invalid
from ml.ingest.image_writer import ImageWriter
from ml.ingest.npz import pixels
from ml.ingest.npz.arrays import Member, batches
from ml.ingest.npz.form import Form, Role, role
from ml.ingest.npz.labels import ONE_HOT, Labels
from ml.ingest.npz.pixels import ImageLayout, PixelScan
from ml.ingest.options import Options, Pixels
from ml.ingest.schema import ImageSchema, Part
from ml.ingest.selection import check_ignored
from ml.ingest.table_writer import check_size
from ml.ingest.typed_table import Findings
from ml.ingest.warning import quoted


def read(archive: ZipFile, form: Form, into: Path, options: Options) -> ImageSchema:
    """Read the images and labels of a file into the directory `into`; other arrays are left out,
    with a warning.

    Raises:
        Invalid: there is not one array of images and one of labels, or they cannot be read.
    """
    check_ignored(options.ignore, [*form.first])
    image_name, label_name = _roles(form)
    findings = Findings({})
    for name in form.first:
        if name not in (image_name, label_name):
            findings.leave_out(name, f"{quoted(name)} is neither the images nor their labels")
    form = form.only([image_name, label_name])
    form.check()
    images = {part: members[image_name] for part, members in form.parts.items()}
    layout = pixels.layout_of(images["train"], options.layout)
    scale = _scale(archive, images, options, findings)
    if layout.channels == 4:
        findings.warn(
            None,
            "pixels",
            "the fourth channel of the images was read as opacity: where they are transparent, "
            "they became white",
        )
    labels = Labels(
        archive, {part: members[label_name] for part, members in form.parts.items()}, options
    )
    if labels.is_one_hot:
        findings.warn(None, "one_hot", f"{quoted(label_name)} is {ONE_HOT}")
    rows = sum(member.rows for member in images.values())
    check_size(rows, 1)
    size = options.image_size or [layout.height, layout.width]
    with ImageWriter(into, rows, size, layout.stored_channels, labels.names()) as writer:
        for part, member in images.items():
            found = _pictures(archive, member, layout, scale)
            for picture, label in zip(found, labels.of(part), strict=True):
                writer.add(picture, label, part)
    schema = writer.schema()
    return schema.model_copy(update={"warnings": [*findings.warnings, *schema.warnings]})


def _roles(form: Form) -> tuple[str, str]:
    """Return the names of the images and of the labels."""
    many = [name for name, member in form.first.items() if len(member.shape) > 2]
    others = [name for name in form.first if name not in many]
    images, labels = _chosen(many, "inputs"), _chosen(others, "targets")
    if images is None or labels is None:
        there = ", ".join(f"{name} {member.shape}" for name, member in form.first.items())
        raise Invalid(
            "needs exactly one array of images, (rows, height, width) or (rows, height, width, "
            f"channels), and one of labels, (rows,); there are {there[:300]}: name them images and "
            "labels, or leave others out with `ignore`"
        )
    return images, labels


def _chosen(names: list[str], wanted: Role) -> str | None:
    """Return the only one of `names`, or the only one that is named after its role."""
    named = [name for name in names if role(name) == wanted]
    found = named if len(named) == 1 else names
    return found[0] if len(found) == 1 else None


def _scale(
    archive: ZipFile, images: Mapping[Part, Member], options: Options, findings: Findings
) -> Pixels:
    """Return the range of the pixels, and warn of one that is not stored as it is."""
    first = images["train"]
    scans = []
    for member in images.values():
        if member.dtype != first.dtype:
            raise Invalid(
                f"the images {member.name!r} are {member.dtype}, but {first.name!r} are "
                f"{first.dtype}; save them as the same type"
            )
        if member.dtype.kind not in "biuf":
            raise Invalid(f"the images {member.name!r} are {member.dtype}; they must be numbers")
        scan = PixelScan(member.name)
        for batch in batches(archive, member, member.batch_rows):
            scan.see(batch)
        scans.append(scan)
    whole = pixels.together(scans)
    scale = pixels.range_of(whole, first.dtype, options.pixels)
    if scale != "0-255":
        findings.warn(None, "pixels", f"pixels from {scale.replace('-', ' to ')} became 0 to 255")
    elif 0 < whole.high < pixels.DARK:
        findings.warn(
            None,
            "pixels",
            f"no pixel is brighter than {whole.high:g} of 255; predictions take the same range",
        )
    return scale


def _pictures(
    archive: ZipFile, member: Member, layout: ImageLayout, scale: Pixels
) -> Iterator[NDArray[Any]]:
    """Yield each image, grey `(height, width)` or RGB `(height, width, 3)`."""
    for batch in batches(archive, member, member.batch_rows):
        yield from layout.pictures(pixels.as_bytes(batch, scale))
