"""Kinds of files that cannot be read, told by their first bytes, with advice for each."""

import re
from pathlib import Path
from zipfile import ZipFile

from ml.errors import Invalid

START_BYTES = 1024
IMAGE = "is a single image; send a zip with a folder for each class"
EXCEL = "is an Excel workbook; in Excel, save the sheet as CSV UTF-8, and send that file"
R_DATA = 'is R data; write it with write.csv(data, "data.csv", row.names = FALSE)'
HDF5 = "is an HDF5 file; write its tables as Parquet, its arrays with numpy.savez"
PICKLE = "is a pickle, which may run code when it is read; write CSV, Parquet or NPZ"
RECORDING = "is a recording; send CSV, Parquet, NPZ or a zip of images"
PROGRAM = "is a program; send CSV, Parquet, NPZ or a zip of images"

MARKS = {
    b"BZh": "is packed with bzip2; unpack it first",
    b"\x28\xb5\x2f\xfd": "is packed with zstd; unpack it first",
    b"\xfd7zXZ\0": "is packed with xz; unpack it first",
    b"\x04\x22\x4d\x18": "is packed with lz4; unpack it first",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive; unpack it first",
    b"Rar!\x1a\x07": "is a RAR archive; unpack it first",
    b"\xd0\xcf\x11\xe0": EXCEL,
    b"ARROW1": "is an Arrow file; save it as Parquet",
    b"FEA1": "is a Feather file; save it as Parquet",
    b"ORC": "is an ORC file; save it as Parquet",
    b"Obj\x01": "is an Avro file; save it as Parquet",
    b"SQLite format 3\0": "is an SQLite database; export one table as CSV",
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"\x93NUMPY": "is a single array; save it with numpy.savez, under a name",
    b"RDX2\n": R_DATA,
    b"RDX3\n": R_DATA,
    b"X\n\0\0\0": R_DATA,
    b"$FL2": "is an SPSS file; export it as CSV",
    b"\x80\x02": PICKLE,
    b"\x80\x03": PICKLE,
    b"\x80\x04": PICKLE,
    b"\x80\x05": PICKLE,
    b"\x89PNG": IMAGE,
    b"\xff\xd8\xff": IMAGE,
    b"GIF8": IMAGE,
    b"II*\0": IMAGE,
    b"MM\0*": IMAGE,
    b"\xff\x0a": IMAGE,
    b"\0\0\0\x0cJXL ": IMAGE,
    b"RIFF": "is a recording or a single image; send CSV, Parquet, NPZ or a zip of images",
    b"OggS": RECORDING,
    b"fLaC": RECORDING,
    b"ID3": RECORDING,
    b"\x7fELF": PROGRAM,
    b"MZ\x90\0": PROGRAM,
}
"""First bytes of common file types. Those that are letters tell nothing of a text."""
CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")
TEXTS = {
    r"(?:<!--.*?-->\s*)?<(?:!doctype html|html|head|body)[\s>]": "is an HTML page, perhaps a login "
    "page or an error; open its address in a browser, and save the file that it leads to",
    r"<table[\s>]": "is an HTML table; open it in a spreadsheet, and save it as CSV",
    r"<\?xml[\s]": "is XML; send CSV, Parquet, NPZ or a zip of images",
    r"<svg[\s>]": IMAGE,
    r"(?:%[^\n]*\n\s*)*@relation\s": "is an ARFF file of Weka; export it as CSV",
    r"%pdf": "is a PDF; send CSV, Parquet, NPZ or a zip of images",
    r"%!ps": "is PostScript; send CSV, Parquet, NPZ or a zip of images",
    r"\{\\rtf": "is a text document (RTF); save its table as CSV",
    r"matlab 5\.0 mat-file": "is a MATLAB file; write its arrays with numpy.savez",
    r"rda3\n": R_DATA,
    r"<stata_dta>": "is a Stata file; export it as CSV",
    r"header record\*{7}": "is a SAS transport file; export it as CSV",
    r"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch that with git "
    "lfs pull",
    r"%%matrixmarket": "is a Matrix Market file; save it with numpy.savez",
}
"""First characters of common types of text files, in lower case, as regular expressions."""
MEMBERS = {
    r"xl/": EXCEL,
    r"word/|ppt/": "is an Office document; save its table as CSV",
    r"\[Content_Types\]\.xml$": "is an Office document; save a sheet as CSV",
    r"content\.xml$": "is an OpenDocument file; save the sheet as CSV",
    r"Index/.*\.iwa$|Index\.zip$": "is a file of Numbers; export the sheet as CSV",
}
"""Names of members of zip files that are documents, as regular expressions."""
TAR = slice(257, 262)
HEIF = slice(4, 8)


def refuse_others(source: Path) -> None:
    """Check that a file may be one that can be read.

    Raises:
        Invalid: it is of another kind; the message says how to get the data out of it.
    """
    with source.open("rb") as file:
        start = file.read(START_BYTES)
    is_binary = CONTROL.search(start) is not None
    for mark, advice in MARKS.items():
        if start.startswith(mark) and (is_binary or not mark.isascii()):
            raise Invalid(advice)
    if start[TAR] == b"ustar":
        raise Invalid("is a tar archive; unpack it first")
    if start[HEIF] == b"ftyp":
        raise Invalid("is a recording or a single image; send CSV, Parquet, NPZ or a zip of images")
    text = start.decode("utf-8-sig", "ignore").lstrip().lower()
    for pattern, advice in TEXTS.items():
        if re.match(pattern, text, re.DOTALL):
            raise Invalid(advice)


def refuse_documents(archive: ZipFile) -> None:
    """Check that a zip file is not a document.

    Raises:
        Invalid: it is; the message says how to get the data out of it.
    """
    names = archive.namelist()
    for pattern, advice in MEMBERS.items():
        if any(re.match(pattern, name) for name in names):
            raise Invalid(advice)
