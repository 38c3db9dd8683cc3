"""The folders of a zip of images: parents to ignore, splits, and classes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from ml.errors import Invalid
from ml.ingest.names import shown
from ml.ingest.schema import Part
from ml.ingest.splits import part_of

Folder = tuple[str, ...]
"""The names of a folder and its parents, the outermost first."""

MAX_PATH: Final = 200
"""Characters of a path that messages show."""


@dataclass(frozen=True)
class Layout:
    """The class and the split of each folder of images. Images of other folders lie beside
    classes."""

    classes: Mapping[Folder, str]
    splits: Mapping[Folder, Part]
    """Empty if there are no splits."""


def layout(folders: Collection[Folder]) -> Layout:
    """Return the layout of folders that hold images: a folder for each class, in folders for
    each split or not, in common parents or not.

    Raises:
        Invalid: the classes cannot be told; the message names a folder.
    """
    below = _without_common(_without_parents(folders))
    level = _level_of_splits(below)
    if level is None:
        return Layout(_classes(below), {})
    # Images without a class, as in Kaggle's test folders.
    labelled = {folder: names for folder, names in below.items() if len(names) > 1}
    if not labelled:
        raise Invalid(
            f"has images in {shown(_path(min(below)), MAX_PATH)} itself; put them into a folder "
            "for each class, as train/cats/1.png"
        )
    splits = {folder: part_of(names[level]) for folder, names in labelled.items()}
    rest = {folder: names[:level] + names[level + 1 :] for folder, names in labelled.items()}
    kept = _without_common(_without_parents(rest.values()))
    classes = _classes({folder: kept[names] for folder, names in rest.items() if names in kept})
    parts = {folder: part for folder, part in splits.items() if part and folder in classes}
    return Layout(classes, parts if len(set(parts.values())) > 1 else {})


def _without_parents(folders: Iterable[Folder]) -> list[Folder]:
    """Leave out folders that hold all others, and images beside them."""
    found = sorted(set(folders), key=lambda folder: (len(folder), folder))
    while len(found) > 1 and all(other[: len(found[0])] == found[0] for other in found[1:]):
        del found[0]
    return sorted(found)


def _without_common(folders: Collection[Folder]) -> dict[Folder, Folder]:
    """Return each folder with its names below the common parents."""
    levels = zip(*(folder[:-1] for folder in folders), strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))
    return {folder: folder[shared:] for folder in folders}


def _level_of_splits(below: Mapping[Folder, Folder]) -> int | None:
    """Return the level on which every folder is one of at least two splits."""
    for level in range(min(map(len, below.values()))):
        parts = {part_of(names[level]) for names in below.values()}
        if None not in parts and len(parts) > 1:
            return level
    return None


def _classes(below: Mapping[Folder, Folder]) -> dict[Folder, str]:
    """Return the class of each folder, which is its only name below the common parents."""
    for folder, names in below.items():
        if len(names) == 1:
            continue
        if not names:
            raise Invalid(
                "has images in no folder; put them into one for each class, as cats/1.png"
            )
        firsts = sorted({names[0] for names in below.values()})
        splits = [name for name in firsts if part_of(name)]
        if splits and len(splits) < len(firsts):
            other = next(name for name in firsts if not part_of(name))
            raise Invalid(
                f"has a folder {shown(other, MAX_PATH)} beside {shown(splits[0], MAX_PATH)}, which "
                "is a split; leave it out, or name it train, val or test"
            )
        example = next(other for other in below if other != folder) if len(below) > 1 else folder
        both = f"{shown(_path(folder), MAX_PATH)} and {shown(_path(example), MAX_PATH)}"
        raise Invalid(
            f"has images in {both}, so that the classes cannot be told; put all images into one "
            "level of folders, one for each class, as cats/1.png is"
        )
    return {folder: names[0] for folder, names in below.items()}


def _path(folder: Folder) -> str:
    return "/".join(folder)


@dataclass(frozen=True)
class ClassNames:
    """Classes by their names in folders, and those that were joined or might be meant as one."""

    names: Mapping[tuple[str, Part | None], str]
    """Class by the name of its folder and by its split."""
    joined: list[tuple[str, str]]
    """Pairs of a folder's name and the class that it was joined to."""
    alike: list[tuple[str, str]]
    """Pairs of classes that differ only by case."""


def class_names(found: Iterable[tuple[str, Part | None]]) -> ClassNames:
    """Return the classes of folders by name and split. Blanks around a name do not count. Names
    that differ only by case are one class if no split has both, as none can on Windows and macOS.
    """
    pairs = sorted(set(found), key=str)
    spellings: dict[str, dict[str, set[Part | None]]] = defaultdict(lambda: defaultdict(set))
    for name, part in pairs:
        spellings[name.strip().casefold()][name.strip()].add(part)
    joined = {(name, name.strip()) for name, _ in pairs if name != name.strip()}
    chosen: dict[str, str] = {}
    alike: list[tuple[str, str]] = []
    for variants in spellings.values():
        names = sorted(variants, key=lambda name: ("train" not in variants[name], name))
        is_one = sum(map(len, variants.values())) == len(set().union(*variants.values()))
        chosen |= {name: names[0] if is_one else name for name in names}
        if is_one:
            joined |= {(name, names[0]) for name in names[1:]}
        else:
            alike += [(names[0], name) for name in names[1:]]
    classes = {(name, part): chosen[name.strip()] for name, part in pairs}
    return ClassNames(classes, sorted(joined), alike)
