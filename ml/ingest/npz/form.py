"""Form of an NPZ file: which arrays belong together, by their names.

`x_train`, `y_train`, `x_test` and `y_test` are the arrays `x` and `y` of two splits; so are
`train_images` and `train_labels`, in any case.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ml.errors import Invalid
from ml.ingest.npz.arrays import KINDS, Member
from ml.ingest.schema import PART_ORDER, Part
from ml.ingest.splits import SEPARATORS, parts_within

Role = Literal["inputs", "targets"]
_Named = tuple[Member, str, Part | None]
"""An array, its name without the word for its split, and the split."""

ROLES: dict[str, Role] = {
    "x": "inputs",
    "data": "inputs",
    "features": "inputs",
    "image": "inputs",
    "images": "inputs",
    "input": "inputs",
    "inputs": "inputs",
    "y": "targets",
    "class": "targets",
    "label": "targets",
    "labels": "targets",
    "output": "targets",
    "outputs": "targets",
    "target": "targets",
    "targets": "targets",
}
"""Usual names of arrays, in lower case."""
ADVICE = "name the arrays x_train, y_train, x_test and y_test"


@dataclass(frozen=True)
class Form:
    """Arrays of a file: those of each split by their common name, or of one part, `train`."""

    parts: dict[Part, dict[str, Member]]
    is_split: bool
    others: list[str]
    """Names of arrays that belong to no split of a file that has splits."""

    @property
    def first(self) -> dict[str, Member]:
        """The arrays of the first part, which those of the others resemble."""
        return self.parts["train"]

    def only(self, names: Sequence[str]) -> "Form":
        """Return the form with some of the arrays of each part."""
        parts = {
            part: {name: members[name] for name in names} for part, members in self.parts.items()
        }
        return Form(parts, self.is_split, self.others)

    def check(self) -> None:
        """Check that the arrays of a part have equally many rows, and that those of the parts
        differ in nothing else.

        Raises:
            Invalid: they do not.
        """
        for members in self.parts.values():
            _check_rows(list(members.values()))
            for name, member in members.items():
                _check_alike(self.first[name], member)


def role(name: str) -> Role | None:
    """Return the usual role of an array of this name, without the word for its split."""
    return ROLES.get(_split_name(name)[0].lower())


def form_of(members: Sequence[Member]) -> Form:
    """Return the form of a file with these arrays.

    Raises:
        Invalid: a split lacks an array that another has, or two arrays are the same of one split.
    """
    names = Counter(member.name for member in members)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise Invalid(f"has two arrays named {repeated[0]!r}; rename one")
    named = _named(members)
    marked = {part for _, _, part in named if part}
    if "train" not in marked or len(marked) == 1:
        _check_train(named)
        return Form({"train": {member.name: member for member in members}}, False, [])
    found: dict[Part, dict[str, Member]] = {part: {} for part in PART_ORDER if part in marked}
    for member, base, part in named:
        if part is None:
            continue
        key = base.lower()
        if key in found[part]:
            raise Invalid(
                f"has the arrays {found[part][key].name!r} and {member.name!r} for the same rows; "
                "rename one"
            )
        found[part][key] = member
    _check_complete(found)
    others = [member.name for member, _, part in named if part is None]
    return Form(dict(_renamed(found)), True, others)


def _split_name(name: str) -> tuple[str, Part | None]:
    """Return the name of an array without the word for a split, and the split."""
    for rest, part in parts_within(name):
        bare = rest.strip(SEPARATORS)
        if bare and (bare != rest or bare.lower() in ROLES):
            return bare, part
    return name, None


def _named(members: Sequence[Member]) -> list[_Named]:
    """Return each array with its name and its split. Arrays belong to a split if one of them is
    named like one of the training rows, or has a usual name: `std_dev` is no array of a split."""
    named = [(member, *_split_name(member.name)) for member in members]
    usual = {*ROLES, *(base.lower() for _, base, part in named if part == "train")}
    parts = {part for _, base, part in named if base.lower() in usual}
    return [one if one[2] in parts else (one[0], one[0].name, None) for one in named]


def _check_train(named: Sequence[_Named]) -> None:
    for member, base, part in named:
        if part in ("validation", "test") and base.lower() in ROLES:
            raise Invalid(f"has the array {member.name!r} but none for training; {ADVICE}")


def _check_complete(found: Mapping[Part, Mapping[str, Member]]) -> None:
    for part, members in found.items():
        for other, others in found.items():
            for key in others.keys() - members.keys():
                raise Invalid(
                    f"has the array {others[key].name!r} of the {other} split, but none like it "
                    f"of the {part} split; add it, or leave all of them out with `ignore`"
                )


def _renamed(
    found: Mapping[Part, Mapping[str, Member]],
) -> Iterator[tuple[Part, dict[str, Member]]]:
    """Yield the arrays of each part by their name in the training split, in the order there."""
    bases = {key: _split_name(member.name)[0] for key, member in found["train"].items()}
    for part, members in found.items():
        yield part, {base: members[key] for key, base in bases.items()}


def _check_rows(members: Sequence[Member]) -> None:
    first = members[0]
    for member in members:
        if member.rows != first.rows:
            raise Invalid(
                f"the array {member.name!r} has {member.rows:,} rows, but {first.name!r} has "
                f"{first.rows:,}; arrays of splits are named as x_train, y_train, x_test and y_test"
            )
    if not first.rows:
        raise Invalid("has arrays without rows")


def _check_alike(first: Member, other: Member) -> None:
    if other.shape[1:] != first.shape[1:]:
        raise Invalid(
            f"the array {other.name!r} has rows of the shape {other.shape[1:]}, but {first.name!r} "
            f"of {first.shape[1:]}; they must be equal"
        )
    if KINDS[other.dtype.kind] != KINDS[first.dtype.kind]:
        raise Invalid(
            f"the array {other.name!r} holds {other.dtype}, but {first.name!r} {first.dtype}; save "
            "them as the same type"
        )
