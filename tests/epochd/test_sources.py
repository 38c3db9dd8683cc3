"""What can be uploaded."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from epochd.sources import opened


def test_files_bytes_and_open_files(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    path.write_bytes(b"a,b\n")
    with path.open("rb") as file:
        for source in (path, str(path), file):
            with opened(source) as upload:
                assert (upload.name, upload.content.read()) == ("homes.csv", b"a,b\n")
                assert upload.is_seekable
    for source in (b"a,b\n", BytesIO(b"a,b\n")):
        with opened(source) as upload:
            assert (upload.name, upload.content.read()) == ("dataset", b"a,b\n")


@pytest.mark.parametrize("source", [None, 3, [1, 2], object()])
def test_anything_else_is_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="upload takes a path"), opened(source):
        pass


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.csv"), opened("no.csv"):
        pass


def test_a_dataframe_keeps_its_types_and_its_named_index() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"when": pandas.to_datetime(["2024-12-31"]), "code": ["007"]})
    for given, columns in ((frame, ["when", "code"]), (frame.set_index("code"), ["code", "when"])):
        with opened(given) as upload:
            assert upload.name == "dataset.parquet"
            read = pandas.read_parquet(upload.content)
        assert list(read.columns) == columns
        assert read["code"][0] == "007"
        assert read["when"][0] == frame["when"][0]


def test_a_dataframe_that_is_no_parquet_is_csv() -> None:
    pandas = pytest.importorskip("pandas")
    with opened(pandas.DataFrame({"mixed": [1, "x"]})) as upload:
        assert upload.name == "dataset.csv"
        assert upload.content.read() == b"mixed\n1\nx\n"
