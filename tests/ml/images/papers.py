"""Digits of MNIST as people would photograph, scan or crop them.

Each kind is a function of a 28x28 digit and a random generator; it returns grey or RGB pixels. The
first ten draw one thing beside the digit, the others what a room adds to it.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels = NDArray[np.float32]
Random = np.random.Generator
Kind = Callable[[NDArray[np.uint8], Random], NDArray[Any]]
Colour = tuple[int, int, int]


def _ink(digit: NDArray[np.uint8], size: int) -> Pixels:
    """Share of each pixel (size, size) that the digit's strokes cover."""
    image = Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / np.float32(255)


def _paper(random: Random, side: int = 300, paper: float = 245, noise: float = 3) -> Pixels:
    return (paper + random.normal(0, noise, (side, side))).astype(np.float32)


def _written(
    page: Pixels,
    digit: NDArray[np.uint8],
    size: int = 200,
    pen: float | Colour = 40,
    at: tuple[int, int] | None = None,
) -> Pixels:
    """Write the digit on `page`, in its middle or at `at` (x, y)."""
    height, width = page.shape[:2]
    x, y = at or ((width - size) // 2, (height - size) // 2)
    ink = _ink(digit, size).reshape(size, size, *[1] * (page.ndim - 2))
    page = page.copy()
    part = page[y : y + size, x : x + size]
    page[y : y + size, x : x + size] = part * (1 - ink) + np.asarray(pen, np.float32) * ink
    return page


def _image(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.asarray(pixels).clip(0, 255).astype(np.uint8))


def _rgb(page: Pixels) -> Pixels:
    return np.repeat(page[:, :, None], 3, axis=2)


def _laid(sheet: NDArray[Any], ground: Pixels, degrees: float, at: tuple[int, int]) -> Pixels:
    """Lay a turned sheet on a larger ground."""
    card, whole = _image(sheet), _image(ground)
    mask = Image.new("L", card.size, 255).rotate(degrees, expand=True)
    whole.paste(card.rotate(degrees, Image.Resampling.BICUBIC, expand=True), at, mask)
    return np.asarray(whole, np.float32)


def _light(shape: tuple[int, ...], left: float, right: float) -> Pixels:
    """Light that changes from left to right."""
    return np.broadcast_to(np.linspace(left, right, shape[1], dtype=np.float32), shape[:2])


# One thing beside the digit.


def plain(digit: NDArray[np.uint8], random: Random) -> Pixels:
    return _written(_paper(random), digit)


def desk(digit: NDArray[np.uint8], random: Random) -> Pixels:
    card = _written(_paper(random, 260), digit, 190)
    ground = (60 + random.normal(0, 9, (520, 640))).astype(np.float32)
    at = int(random.integers(40, 300)), int(random.integers(40, 180))
    return _laid(card, ground, float(random.uniform(-8, 8)), at)


def frame(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = plain(digit, random)
    page[:6] = page[-6:] = page[:, :6] = page[:, -6:] = 10
    return page


def margin(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = _rgb(plain(digit, random))
    page[:, 28:31] = (200, 60, 60)
    return page


def grid(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = _paper(random)
    page[::25] = page[:, ::25] = 90
    return _written(page, digit, pen=30)


def rules(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = _rgb(_written(_paper(random), digit, pen=30))
    for y in range(20, 300, 40):
        page[y : y + 3] = np.minimum(page[y : y + 3], (110, 140, 220))
    return page


def stain(digit: NDArray[np.uint8], random: Random) -> Pixels:
    image = _image(plain(digit, random))
    ImageDraw.Draw(image).ellipse((250, 250, 292, 288), fill=70)
    return np.asarray(image, np.float32)


def _cropped(page: Pixels) -> Pixels:
    """Return the part of a page with the ink, and two pixels around it."""
    rows, columns = np.nonzero(page < 140)
    top, left = max(0, rows.min() - 2), max(0, columns.min() - 2)
    return page[top : rows.max() + 3, left : columns.max() + 3]


def crop(digit: NDArray[np.uint8], random: Random) -> Pixels:
    return _cropped(plain(digit, random))


def small28(digit: NDArray[np.uint8], random: Random) -> Pixels:
    x, y = (int(number) for number in random.integers(0, 12, 2))
    return _written(np.full((28, 28), 255, np.float32), digit, 16, 0, (x, y))


def thick(digit: NDArray[np.uint8], random: Random) -> Pixels:
    return np.asarray(_image(plain(digit, random)).filter(ImageFilter.MinFilter(17)), np.float32)


# Surroundings of the sheet.


def tilted(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A sheet seen from the side, on a dark desk."""
    card = _image(_written(_paper(random, 400), digit, 260))
    corners = np.array([(150, 90), (500, 60), (590, 440), (80, 420)], float)
    corners += random.uniform(-25, 25, (4, 2))
    source = np.array([(0, 0), (400, 0), (400, 400), (0, 400)], float)
    rows, wanted = [], []
    for (x, y), (u, v) in zip(corners, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    terms = np.linalg.solve(np.array(rows), np.array(wanted)).tolist()
    size, how = (640, 480), Image.Transform.PERSPECTIVE
    seen = card.transform(size, how, terms, Image.Resampling.BICUBIC)
    mask = Image.new("L", card.size, 255).transform(size, how, terms)
    ground = _image(55 + random.normal(0, 8, (480, 640)))
    ground.paste(seen, (0, 0), mask)
    return np.asarray(ground, np.float32)


def wood(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A card on a table with grain."""
    rows = np.arange(520)[:, None] + 6 * np.sin(np.arange(640)[None] / 70)
    grain = 115 + 22 * np.sin(rows / 4.5) + 10 * np.sin(rows / 1.7)
    grain = _rgb((grain + random.normal(0, 5, grain.shape)).astype(np.float32)) * (1.1, 0.9, 0.65)
    card = _rgb(_written(_paper(random, 280), digit, 190))
    at = int(random.integers(40, 280)), int(random.integers(40, 160))
    return _laid(card, grain.astype(np.float32), float(random.uniform(-10, 10)), at)


def vignette(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = plain(digit, random)
    y, x = np.indices(page.shape) / 150 - 1
    return np.asarray(page * (1 - 0.33 * (x**2 + y**2)), np.float32)


def second_sheet(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """The edge of another sheet, and its shadow, at the right."""
    page = plain(digit, random)
    edge = int(random.integers(258, 280))
    page[:, edge - 4 : edge] *= np.linspace(0.95, 0.55, 4, dtype=np.float32)
    page[:, edge:] *= 0.88
    return page


def holes(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """The holes of a ring binder."""
    image = _image(plain(digit, random))
    for y in (50, 150, 250):
        ImageDraw.Draw(image).ellipse((10, y - 9, 28, y + 9), fill=45)
    return np.asarray(image, np.float32)


def smudges(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A pencil, and what the eraser left."""
    smudged = np.zeros((300, 300), np.float32)
    for _ in range(4):
        y, x = random.integers(30, 270, 2)
        distance = np.hypot(*(np.indices((300, 300)) - np.array([y, x])[:, None, None]))
        smudged += np.exp(-((distance / 28) ** 2))
    page = _paper(random, noise=4) - 16 * smudged.clip(0, 1.2)
    return _written(page, digit, pen=130)


def dotted(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = _paper(random)
    for dy in range(3):
        for dx in range(3):
            page[10 + dy :: 20, 10 + dx :: 20] = 120
    return _written(page, digit)


def light_blue(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """Light blue squares under a ball pen."""
    page = _rgb(_paper(random))
    page[::18] = page[:, ::18] = (175, 205, 240)
    return _written(page, digit, pen=(30, 40, 110))


def blackboard(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """Chalk, with its grain and clouds of dust."""
    cloud = _image(random.uniform(0, 255, (6, 6))).resize((300, 300), Image.Resampling.BICUBIC)
    board = 55 + 0.09 * np.asarray(cloud, np.float32) + random.normal(0, 4, (300, 300))
    ink = _ink(digit, 200) * random.uniform(0.65, 1, (200, 200))
    board[50:250, 50:250] = board[50:250, 50:250] * (1 - ink) + 225 * ink
    return board.astype(np.float32)


def whiteboard(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A board with a grey frame on a darker wall."""
    wall = (150 + random.normal(0, 3, (420, 520))).astype(np.float32)
    wall[30:390, 40:480] = 95
    wall[44:376, 54:466] = 238 + random.normal(0, 2, (332, 412))
    wall *= _light(wall.shape, 0.85, 1.0)
    return _written(wall, digit, 240, 60)


def finger(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = _image(_rgb(_written(_paper(random), digit, 190)))
    ImageDraw.Draw(page).ellipse((-60, 235, 62, 380), fill=(196, 140, 115))
    return np.asarray(page.filter(ImageFilter.GaussianBlur(1.5)), np.float32)


def jpeg(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A file compressed too much."""
    file = io.BytesIO()
    _image(_written(_paper(random, noise=8), digit)).save(file, "JPEG", quality=12)
    return np.asarray(Image.open(file), np.float32)


def turned(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """Ruled paper turned by 10 degrees."""
    page = _written(_paper(random, 420), digit, 200)
    for y in range(18, 420, 40):
        page[y : y + 2] = np.minimum(page[y : y + 2], 150)
    degrees = float(random.choice([-10, 10]))
    whole = _image(page).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=245)
    return np.asarray(whole, np.float32)[60:360, 60:360]


def red_ink(digit: NDArray[np.uint8], random: Random) -> Pixels:
    return _written(_rgb(_paper(random)), digit, pen=(215, 45, 40))


def yellow_note(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A yellow note on a white desk."""
    note = _rgb(_paper(random, 260)) * (0.98, 0.88, 0.42)
    ground = _rgb((242 + random.normal(0, 3, (480, 600))).astype(np.float32))
    written = _written(note.astype(np.float32), digit, 190, (40, 40, 90))
    return _laid(written, ground, float(random.uniform(-8, 8)), (170, 90))


def frame_and_rules(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = rules(digit, random)
    page[:8] = page[-8:] = page[:, :8] = page[:, -8:] = 15
    return page


def inner_frame(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A box drawn on the paper, as on a form."""
    page = _paper(random, 400)
    page[40:44, 40:360] = page[356:360, 40:360] = 60
    page[40:360, 40:44] = page[40:360, 356:360] = 60
    return _written(page, digit, 220)


def underlined(digit: NDArray[np.uint8], random: Random) -> Pixels:
    page = plain(digit, random)
    page[255:260, 50:250] = 45
    return page


def dark_strip(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """The edge of a scan: black along two sides."""
    page = plain(digit, random)
    page[:, :14] = page[-10:] = 12
    return page


def pencil_on_rules(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """Pencil no darker than the lines."""
    page = _paper(random)
    for y in range(12, 300, 36):
        page[y : y + 2] = 150
    return np.minimum(page, _written(_paper(random), digit, pen=125))


def photo(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """Squared paper on a dark desk in uneven light, as a JPEG file of a telephone."""
    card = _paper(random, 700)
    card[::50] = card[:, ::50] = 165
    ground = (70 + random.normal(0, 8, (1200, 1600))).astype(np.float32)
    seen = _laid(_written(card, digit, 480), ground, float(random.uniform(-6, 6)), (380, 180))
    file = io.BytesIO()
    lit = seen * _light(seen.shape, 0.65, 1.0)
    _image(lit).filter(ImageFilter.GaussianBlur(1.2)).save(file, "JPEG", quality=70)
    return np.asarray(Image.open(file), np.float32)


def thick_crop(digit: NDArray[np.uint8], random: Random) -> Pixels:
    return _cropped(thick(digit, random))


def light28(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """Like `small28`, light on dark."""
    return 255 - small28(digit, random)


def tiny(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A small digit on a large page."""
    at = int(random.integers(100, 1200)), int(random.integers(100, 800))
    page = (240 + random.normal(0, 4, (1000, 1400))).astype(np.float32)
    return _written(page, digit, 90, 50, at)


def shadow(digit: NDArray[np.uint8], random: Random) -> Pixels:
    """A hard shadow across the digit."""
    page = plain(digit, random)
    y, x = np.indices(page.shape)
    return np.where(x + 0.4 * y < random.integers(120, 260), page * 0.62, page).astype(np.float32)


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        *(plain, desk, frame, margin, grid, rules, stain, crop, small28, thick),
        *(tilted, wood, vignette, second_sheet, holes, smudges, dotted, light_blue, blackboard),
        *(whiteboard, finger, jpeg, turned, red_ink, yellow_note, frame_and_rules, inner_frame),
        *(underlined, dark_strip, pencil_on_rules, photo, thick_crop, light28, tiny, shadow),
    )
}


def drawn(kind: str, digit: NDArray[np.uint8], random: Random) -> Image.Image:
    """Return a digit drawn as `kind`."""
    return _image(KINDS[kind](digit, random))
