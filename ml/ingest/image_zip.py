"""Zip files of images, with a folder for each class."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

from ml.errors import Invalid
from ml.images.bits import BitDepth
from ml.images.decode import used_bits
from ml.images.header import ImageHeader, read_header
from ml.ingest.image_writer import Channels, ImageWriter
from ml.ingest.options import Options
from ml.ingest.reading import reading
from ml.ingest.schema import PART_ORDER, ImageSchema, Part
from ml.ingest.warning import DataWarning
from ml.ingest.zips.contents import Contents, skipped_warning
from ml.ingest.zips.folders import ClassNames, class_names, layout
from ml.ingest.zips.member_names import MemberNames
from ml.ingest.zips.members import Member

MAX_FILE_BYTES = 50 * 1024 * 1024
MAX_PIXELS = 50_000_000
"""Maximum pixels of an image."""
ANY_PIXELS = 2_000_000_000
"""Pixels that the images of a zip file may have together, however small the file is."""
PIXELS_PER_BYTE = 50
"""Further pixels for each byte of the file. Photos have up to 25; images that take minutes to
decode and hold nothing have several hundred."""
MAX_LISTED = 3
"""Classes that a warning lists."""


def read(
    archive: ZipFile, packed_bytes: int, contents: Contents, into: Path, options: Options
) -> ImageSchema:
    """Read the images of a zip file of `packed_bytes` bytes into the directory `into`. They are
    stored as grey if all are grey, else in colour.

    Raises:
        Invalid: the classes cannot be told, or an image cannot be read; the message names it.
    """
    found = _found(contents)
    # The first pass reads headers, and decodes images of 16 bits only; the second decodes all of
    # them, and writes.
    shapes = _Shapes(ANY_PIXELS + PIXELS_PER_BYTE * packed_bytes, options.bit_depth)
    for image in found.images:
        with _naming(image.member):
            header = read_header(_file(archive, image.member), max_pixels=MAX_PIXELS)
        shapes.add(image.member, header)
        with _naming(image.member):
            shapes.measure(header)
    size = options.image_size or shapes.size()
    with ImageWriter(
        into,
        len(found.images),
        size,
        shapes.channels,
        sorted({image.label for image in found.images}),
        shapes.bit_depth,
    ) as writer:
        for image in found.images:
            with _naming(image.member):
                file = _file(archive, image.member)
                header = writer.form.header(file, max_pixels=MAX_PIXELS)
                writer.add(header, image.label, image.part)
    schema = writer.schema()
    own = [*found.warnings, *shapes.warnings(), *_split_warning(schema)]
    return schema.model_copy(update={"warnings": [*own, *schema.warnings]})


@dataclass(frozen=True)
class _Image:
    member: Member
    label: str
    part: Part


@dataclass(frozen=True)
class _Found:
    """The images of a zip file, sorted by split, and what is to be said about the others."""

    images: list[_Image]
    warnings: list[DataWarning]


def _found(contents: Contents) -> _Found:
    outside = []
    places = layout({member.folder for member in contents.images})
    classes = class_names(
        (name, places.splits.get(folder)) for folder, name in places.classes.items()
    )
    found = []
    for member in contents.images:
        name, part = places.classes.get(member.folder), places.splits.get(member.folder)
        if name is None:
            outside.append(member)
        else:
            found.append(_Image(member, classes.names[name, part], part or "train"))
    found.sort(key=lambda image: PART_ORDER.index(image.part))
    skipped = skipped_warning({**contents.skipped, "image": outside})
    return _Found(found, [*_name_warnings(contents.names), *skipped, *_class_warnings(classes)])


def _name_warnings(names: MemberNames) -> list[DataWarning]:
    if names.guessed is None:
        return []
    message = (
        f"the names in the zip are not in UTF-8, and were read as {names.guessed}, for example "
        f"{names.example!r}; set encoding if that is wrong"
    )
    return [DataWarning(column=None, kind="encoding", message=message)]


def _class_warnings(classes: ClassNames) -> list[DataWarning]:
    found = []
    if classes.joined:
        message = (
            f"the folders {_pairs(classes.joined, 'are read as the class')}: their names differ "
            "only by case or by blanks around them"
        )
        found.append(message)
    if classes.alike:
        message = (
            f"the classes {_pairs(classes.alike, 'and')} differ only by case, and are two classes; "
            "put their images into one folder if they are one"
        )
        found.append(message)
    return [DataWarning(column=None, kind="class_names", message=text) for text in found]


def _split_warning(schema: ImageSchema) -> list[DataWarning]:
    if not schema.splits:
        return []
    counts = ", ".join(f"{count:,} {part}" for part, count in schema.splits.items())
    message = f"the folders of the zip divide the images: {counts}"
    return [DataWarning(column=None, kind="split", message=message)]


def _pairs(pairs: Sequence[tuple[str, str]], word: str) -> str:
    listed = ", ".join(f"{one!r} {word} {other!r}" for one, other in pairs[:MAX_LISTED])
    return f"{listed}, ..." if len(pairs) > MAX_LISTED else listed


@dataclass
class _Shapes:
    """Sizes, colours and depths of the images seen so far."""

    max_pixels: int
    bit_depth_set: BitDepth | None
    """Depth that the options give."""
    sizes: set[tuple[int, int]] = field(default_factory=set)
    """Heights and widths."""
    are_grey: bool = True
    pixels: int = 0
    deep: int = 0
    """Images of 16 bits per channel."""
    are_deep_grey: bool = True
    deepest: BitDepth = 10
    """Bits that those images use."""
    longer: list[Member] = field(default_factory=list)
    """Images with several frames or pages."""

    def add(self, member: Member, header: ImageHeader) -> None:
        """Take an image into account.

        Raises:
            Invalid: the images have too many pixels in all.
        """
        self.sizes.add(header.size)
        self.are_grey = self.are_grey and header.is_grey
        self.pixels += header.pixels
        if self.pixels > self.max_pixels:
            raise Invalid(
                f"has images of over {self.max_pixels:,} pixels in all, the maximum for a file of "
                "this size; reduce them before the upload"
            )
        if header.has_more:
            self.longer.append(member)
        if header.bits == 16:
            self.deep += 1
            self.are_deep_grey = self.are_deep_grey and header.is_grey

    def measure(self, header: ImageHeader) -> None:
        """Take the bits of an image into account, unless those of all are known.

        Raises:
            Invalid: it cannot be decoded.
        """
        if header.bits == 16 and self.bit_depth_set is None and self.deepest < 16:
            self.deepest = max(self.deepest, used_bits(header))

    def size(self) -> list[int]:
        """Return height and width of all images.

        Raises:
            Invalid: they differ.
        """
        if len(self.sizes) > 1:
            (h, w), (other_h, other_w) = min(self.sizes), max(self.sizes)
            raise Invalid(
                f"has images of {len(self.sizes)} sizes, such as {h}x{w} and {other_h}x{other_w} "
                "(height x width); set image_size to resize them all"
            )
        return list(next(iter(self.sizes)))

    @property
    def channels(self) -> Channels:
        """Channels of the images as stored."""
        return 1 if self.are_grey else 3

    @property
    def bit_depth(self) -> BitDepth:
        """Bits that 16-bit samples use; 16 if there are none."""
        return self.bit_depth_set or (self.deepest if self.deep else 16)

    def warnings(self) -> list[DataWarning]:
        """Return warnings about depths and frames."""
        found = []
        if self.longer:
            named = ", ".join(member.shown for member in self.longer[:MAX_LISTED])
            message = (
                f"{_images(len(self.longer), 'has', 'have')} several frames or pages, of which the "
                f"first was read: {named}{', ...' if len(self.longer) > MAX_LISTED else ''}"
            )
            found.append(DataWarning(column=None, kind="first_frame", message=message))
        if self.deep and self.bit_depth_set is None:
            found.append(DataWarning(column=None, kind="sixteen_bit", message=self._depth()))
        return found

    def _depth(self) -> str:
        images = _images(self.deep, "has", "have")
        if self.deepest == 16:
            return f"{images} 16 bits per channel, of which the upper 8 are kept"
        message = (
            f"{images} 16 bits per channel and no number over {2**self.deepest - 1:,}, which is "
            f"read as white, in predictions too; set bit_depth=16 if white is 65,535"
        )
        if self.are_deep_grey:
            return message
        return f"{message}; of their colours {self.deepest - 8} bits are left: save them with 8"


def _images(count: int, one: str, many: str) -> str:
    return f"{count:,} image {one}" if count == 1 else f"{count:,} images {many}"


def _file(archive: ZipFile, member: Member) -> bytes:
    with archive.open(member.info) as file:
        # The size in a zip's directory is not to be trusted.
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise Invalid(f"has over {MAX_FILE_BYTES:,} bytes, the maximum")
    return data


@contextmanager
def _naming(member: Member) -> Iterator[None]:
    """Begin the message of every `Invalid` raised in this context with the member's name."""
    try:
        with reading("the image"):
            yield
    except Invalid as error:
        raise Invalid(f"{member.shown}: {error.msg}") from None
