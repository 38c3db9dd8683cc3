"""Zip files in memory."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any


def zipped(members: Mapping[str, bytes], **changes: Any) -> bytes:
    """Return a zip of `members` by name; `changes` are fields of their entries by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for field, value in changes.get(name, {}).items():
                setattr(info, field, value)
            archive.writestr(info, data)
    return file.getvalue()
