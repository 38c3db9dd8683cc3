"""Damages files of each format in many ways and reads them, in a process with little memory:

    python -m tests.ml.ingest.mutations FORMAT COUNT SEED

Each file must be read or refused. The result is printed as JSON.
"""

import contextlib
import io
import json
import logging
import resource
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ml.errors import Invalid
from ml.images.decode import PictureForm
from ml.images.header import read_header
from ml.images.ink import ImageForm
from ml.ingest import Options, ingest
from tests.ml.ingest.archives import zipped

MIB = 1024 * 1024
MEMORY = 1024 * MIB
MAX_PIXELS = 1_000_000
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]
TEXTS = [b"", b"\0", b'"', b"\n", b",", b"\xff\xfe", b"\xed\xa0\x80", b"1e999", b"-", b"(True,)"]

Mutate = Callable[[Random], bytes]


def damaged(data: bytes, random: Random) -> bytes:
    """Return `data` with one to four random damages."""
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 4])):
        if not changed:
            break
        # Headers are at the start, footers at the end.
        near = min(len(changed), 200)
        place = random.choice(
            [random.randrange(len(changed)), random.randrange(near), -1 - random.randrange(near)]
        ) % len(changed)
        match random.randrange(6):
            case 0:
                changed[place] ^= 1 << random.randrange(8)
            case 1:
                changed[place] = random.randrange(256)
            case 2:
                order = random.choice("<>") + random.choice("HI")
                size = struct.calcsize(order)
                number = random.choice(NUMBERS) & (256**size - 1)
                changed[place : place + size] = struct.pack(order, number)
            case 3:
                stop = place + random.randint(1, 64)
                changed[place:stop] = changed[place:stop] * random.randint(0, 3)
            case 4:
                changed[place:place] = random.choice(TEXTS)
            case 5:
                del changed[place:]
    return bytes(changed)


MODES: Mapping[str, Sequence[str]] = {
    "PNG": ["1", "L", "LA", "P", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "GIF": ["1", "L", "P", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"],
    "WEBP": ["L", "RGB", "RGBA"],
}
"""Modes of each format."""
OPTIONS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "JPEG": [{}, {"progressive": True}],
    "TIFF": [{}, *({"compression": name} for name in ("tiff_lzw", "tiff_deflate", "packbits"))],
    "WEBP": [{"lossless": True}, {"quality": 50}],
}
"""Ways to write each format."""
ANIMATED = {"GIF", "WEBP", "TIFF"}


def picture(kind: str, random: Random) -> bytes:
    mode = random.choice(MODES[kind])
    noise = np.random.default_rng(random.randrange(1000)).integers(0, 256, (24, 20, 3), np.uint8)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = random.randint(1, 8)
    options = dict(random.choice(OPTIONS.get(kind, [{}])))
    if mode == "RGB" and kind == "TIFF" and random.random() < 0.3:
        options["compression"] = "jpeg"
    image = Image.fromarray(noise)
    image = (
        Image.fromarray(noise[..., 0] * np.uint16(257)) if mode == "I;16" else image.convert(mode)
    )
    if kind in ANIMATED and random.random() < 0.3:
        options |= {"save_all": True, "append_images": [image.rotate(90)]}
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


def with_valid_checksums(png: bytes) -> bytes:
    """Correct the checksums of a damaged PNG file, so that the damage reaches the decoder."""
    parts, position = [png[:8]], 8
    while position + 12 <= len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        chunk = png[position + 4 : position + 8 + length]
        parts += [png[position : position + 4], chunk, struct.pack(">I", zlib.crc32(chunk))]
        position += 12 + length
    return b"".join(parts)


def csv(random: Random) -> bytes:
    rows = [f'{i},{i % 3 == 0},"x{i % 5}",{i / 7}' for i in range(40)]
    return damaged(("a,b,c,d\n" + "\n".join(rows)).encode(), random)


def npy(random: Random) -> bytes:
    file = io.BytesIO()
    array = random.choice(
        [np.arange(30.0), np.arange(30).reshape(10, 3), np.array(["a", "b"] * 15), np.ones(30, "?")]
    )
    np.save(file, array)
    return file.getvalue()


def arrays(random: Random) -> dict[str, bytes]:
    return {"a.npy": npy(random), "b.npy": npy(random)}


def splits(random: Random) -> dict[str, bytes]:
    shape = random.choice([(6, 3, 4), (6, 3, 4, 3), (6, 1, 5, 7), (6, 5, 7, 4), (6, 4)])
    dtype = random.choice(["u1", "<f2", "<f4", ">u2", "?", "<i8"])
    labels = random.choice(
        [np.arange(6) % 2, np.eye(2)[np.arange(6) % 2], np.array(["a", "b"] * 3)]
    )
    members = {}
    images = np.ones(shape).astype(dtype)
    for part in ("train", "val", "test")[: random.randint(1, 3)]:
        for name, array in ((f"x_{part}", images), (f"y_{part}", labels)):
            file = io.BytesIO()
            np.save(file, array)
            members[f"{name}.npy"] = file.getvalue()
    return members


def npz(random: Random) -> bytes:
    members = random.choice([arrays, splits])(random)
    name = random.choice(list(members))
    members[name] = damaged(members[name], random)
    whole = zipped(members)
    return damaged(whole, random) if random.random() < 0.3 else whole


def parquet(random: Random) -> bytes:
    file = io.BytesIO()
    table = pa.table(
        {
            "a": range(50),
            "b": [i / 3 for i in range(50)],
            "c": ["x", "y"] * 25,
            "d": pa.array(["x", "y"] * 25).dictionary_encode(),
            "e": pa.array([Decimal(i) for i in range(50)], pa.decimal128(20, 0)),
            "f": pa.array(range(50), pa.timestamp("ns", "UTC")),
            "g": [[i] for i in range(50)],
            "h": ["1.5", "2"] * 25,
            "i": pa.array(range(50), pa.time32("s")),
        }
    )
    pq.write_table(table, file, compression=random.choice(["none", "snappy", "zstd"]))
    return damaged(file.getvalue(), random)


def images(random: Random) -> bytes:
    splits = random.choice([[""], [""], ["train/", "val/"]])
    members = {
        f"{split}{c}/{i}.{kind.lower()}": picture(kind, random)
        for split in splits
        for c in ("a", random.choice(["b", "é", "A", "a "]))
        for i in range(2)
        if (kind := random.choice([*MODES]))
    }
    first = next(iter(members))
    members[first] = damaged(members[first], random)
    whole = zipped(members)
    return damaged(whole, random) if random.random() < 0.5 else whole


def tables(random: Random) -> bytes:
    name, table = random.choice([("train.csv", csv), ("train.parquet", parquet)])
    whole = zipped({"README.md": b"# Data", f"data/{name}": table(random)})
    return damaged(whole, random) if random.random() < 0.5 else whole


def png(random: Random) -> bytes:
    changed = damaged(picture("PNG", random), random)
    return with_valid_checksums(changed) if random.random() < 0.7 else changed


def other(kind: str) -> Mutate:
    return lambda random: damaged(picture(kind, random), random)


def pictures(random: Random) -> bytes:
    return IMAGES[random.choice([*IMAGES])](random)


UPLOADS: Mapping[str, Mutate] = {
    "csv": csv,
    "npz": npz,
    "parquet": parquet,
    "zip": images,
    "zipped table": tables,
}
IMAGES: Mapping[str, Mutate] = {
    "png": png,
    **{kind.lower(): other(kind) for kind in MODES if kind != "PNG"},
}


def read_upload(content: bytes, directory: Path) -> None:
    source, into = directory / "source", directory / "into"
    source.write_bytes(content)
    into.mkdir(exist_ok=True)
    try:
        assert ingest(source, into, Options(image_size=[8, 8])).rows > 0
    except Invalid:
        assert not list(into.iterdir()), "nothing stays of a refused file"
        raise
    for path in into.iterdir():
        path.unlink()


def read_image(content: bytes, _: Path) -> None:
    picture = PictureForm(height=8, width=8, channels=3)
    assert picture.decode(picture.header(content, max_pixels=MAX_PIXELS)).shape == (3, 8, 8)
    with contextlib.suppress(Invalid):  # blank
        assert ImageForm().decode(read_header(content, max_pixels=MAX_PIXELS)).shape == (28, 28)


def run(name: str, count: int, seed: int) -> dict[str, Any]:
    """Read `count` damaged files, and return how many were read or refused."""
    mutate = {**UPLOADS, **IMAGES, "pictures": pictures}[name]
    read = read_upload if name in UPLOADS else read_image
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as directory:
        for number in range(count):
            content = mutate(Random(f"{seed} {number}"))
            start = time.thread_time()
            try:
                read(content, Path(directory))
                outcomes["read"] += 1
            except (Invalid, MemoryError) as error:
                outcomes["refused" if isinstance(error, Invalid) else "memory"] += 1
            except BaseException:
                print(f"number {number} of seed {seed}: {content!r}", file=sys.stderr)
                raise
            slowest = max(slowest, time.thread_time() - start)
    return {"format": name, **outcomes, "slowest_seconds": round(slowest, 3)}


def main(name: str, count: str, seed: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    logging.disable()  # unexpected errors are logged with their type
    print(json.dumps(run(name, int(count), int(seed))))


if __name__ == "__main__":
    main(*sys.argv[1:])
