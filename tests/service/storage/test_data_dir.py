"""A data directory is made for this user only; one that is open to others is left as it is, and
named."""

import os
import stat
from pathlib import Path

from service.storage.data_dir import check_private, exclusive


def test_a_new_directory_is_private_and_an_open_one_is_told_of(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with exclusive(tmp_path / "a" / "data"):
            pass
    finally:
        os.umask(before)
    data_dir = tmp_path / "a" / "data"
    assert list(check_private(data_dir)) == []
    data_dir.chmod(0o750)
    [warning] = check_private(data_dir)
    assert warning.endswith(f"(mode 0750); unless that is intended: chmod 700 {data_dir}")
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o750
