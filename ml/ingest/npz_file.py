"""NPZ files: arrays with equally many rows, or with the rows of several splits."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

from ml.errors import Invalid
from ml.ingest.npz import images, table
from ml.ingest.npz.arrays import open_member
from ml.ingest.npz.form import Form, form_of
from ml.ingest.options import Options
from ml.ingest.schema import MAX_COLUMNS, Schema
from ml.ingest.selection import check_unlike
from ml.ingest.warning import DataWarning, quoted
from ml.ingest.zip_safety import refusing_broken


def is_npz(source: Path) -> bool:
    """Return whether a zip file holds only arrays."""
    with ZipFile(source) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def read(source: Path, into: Path, options: Options) -> Schema:
    """Read the NPZ file `source` into the directory `into`: arrays as columns, or an array of
    images and one of labels.

    Raises:
        Invalid: an array is corrupt, too large, of another length, or of an unsupported dtype.
    """
    with refusing_broken(), ZipFile(source) as archive:
        files = archive.namelist()
        if len(files) > MAX_COLUMNS:
            raise Invalid(f"has over {MAX_COLUMNS:,} arrays, the maximum")
        arrays = [file for file in files if file.removesuffix(".npy") not in options.ignore]
        if not arrays:
            raise Invalid("has no arrays but those to ignore")
        form = form_of([open_member(archive, file) for file in arrays])
        ignored = [file.removesuffix(".npy") for file in files if file not in arrays]
        check_unlike(ignored, options.types)
        has_images = any(len(member.shape) > 2 for member in form.first.values())
        read_form = images.read if has_images else table.read
        left = [name for name in options.ignore if name not in ignored]
        schema = read_form(archive, form, into, options.model_copy(update={"ignore": left}))
        return schema.model_copy(update={"warnings": [*_about(form), *schema.warnings]})


def _about(form: Form) -> Iterator[DataWarning]:
    if form.is_split:
        sizes = [
            f"{next(iter(members.values())).rows:,} {part}" for part, members in form.parts.items()
        ]
        message = f"the file has splits of its own, which jobs use: {', '.join(sizes)} rows"
        yield DataWarning(column=None, kind="split", message=message)
    for name in form.others:
        message = f"{quoted(name)} is an array of no split; it was left out"
        yield DataWarning(column=name, kind="left_out", message=message)
