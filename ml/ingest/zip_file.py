"""Zip files: images in folders, or one table. NPZ files are read by `ml.ingest.npz_file`."""

import shutil
from pathlib import Path
from zipfile import ZipFile

from ml.errors import Invalid
from ml.ingest import image_zip, table_file
from ml.ingest.gzip_file import MAX_BYTES
from ml.ingest.options import Options
from ml.ingest.schema import Schema
from ml.ingest.selection import check_ignored
from ml.ingest.zip_safety import refusing_broken
from ml.ingest.zips.contents import look_into, skipped_warning
from ml.ingest.zips.members import Member
from ml.ingest.zips.table import only_table

UNPACKED = "unpacked_table"
MIB = 1024 * 1024


def read(source: Path, into: Path, options: Options) -> Schema:
    """Read the zip file `source` into the directory `into`: its images, or its table if it has
    none.

    Raises:
        Invalid: the file is corrupt or too large, a member is not allowed, an image or the table
            cannot be read, or there are several tables; the message names the member.
    """
    unpacked = into / UNPACKED
    with refusing_broken(), ZipFile(source) as archive:
        # The encoding may be that of the table, and not of its name.
        contents = look_into(archive, None)
        if contents.images:
            if options.encoding is not None:
                contents = look_into(archive, options.encoding)
            check_ignored(options.ignore, [])
            return image_zip.read(archive, source.stat().st_size, contents, into, options)
        table = only_table(contents.skipped["other"])
        _unpack(archive, table, unpacked)
    try:
        schema = table_file.read(unpacked, into, options)
    except Invalid as error:
        raise Invalid(f"{table.shown}: {error.msg}") from None
    finally:
        unpacked.unlink()
    skipped = skipped_warning(contents.without(table).skipped)
    return schema.model_copy(update={"warnings": [*skipped, *schema.warnings]})


def _unpack(archive: ZipFile, member: Member, copy: Path) -> None:
    size = member.info.file_size
    if size > MAX_BYTES:
        raise Invalid(
            f"has a table of {size:,} bytes, {member.shown}; at most {MAX_BYTES:,} are read from a "
            "zip: send it in parts"
        )
    with archive.open(member.info) as packed, copy.open("wb") as file:
        shutil.copyfileobj(packed, file, MIB)
