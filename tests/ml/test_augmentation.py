"""Every image is changed by numbers of its own, and only as far as its spec says."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from ml.augmentation import AnyChange, Crop, Flip, Rotate, Scale, Shear, Shift, change_images, draw
from ml.errors import Invalid
from ml.specs import TrainingSpec

MNIST: dict[str, Any] = {"dataset": {"kind": "mnist"}}


def picture(height: int, width: int) -> Tensor:
    pixels = torch.randint(0, 256, (height, width), generator=torch.Generator().manual_seed(0))
    return pixels.byte()


def changed(image: Tensor, *changes: AnyChange, rows: int = 200) -> Tensor:
    images = image.repeat(rows, *[1] * image.dim())
    change_images(images, draw(changes, rows, (image.shape[-2], image.shape[-1]), 0))
    return images


def test_half_of_the_images_are_flipped() -> None:
    for change, dim in ((Flip(), 2), (Flip(flip="vertical"), 1)):
        image = picture(5, 8)
        found = changed(image, change)
        as_they_are = (found == image).flatten(1).all(1)
        mirrored = (found == image.flip(dim - 1)).flatten(1).all(1)
        assert bool((as_they_are ^ mirrored).all())
        assert 70 < as_they_are.sum() < 130


def test_crop_moves_by_every_number_of_pixels() -> None:
    image = picture(6, 9)
    padded = v2.functional.pad(image[None], [2, 2])[0]
    crops = [padded[y : y + 6, x : x + 9] for y in range(5) for x in range(5)]
    found = changed(image, Crop(crop=2), rows=1000)
    counts = [int((found == crop).flatten(1).all(1).sum()) for crop in crops]
    assert sum(counts) == 1000
    assert min(counts) > 15


@pytest.mark.parametrize(
    ("change", "most", "options"),
    [
        (Rotate(rotate=30), 30.0, lambda a: {"angle": a}),
        (Scale(scale=0.3), 0.3, lambda f: {"scale": 1 + f}),
        (Shear(shear=20), 20.0, lambda a: {"shear": [a, 0.0]}),
    ],
    ids=["rotate", "scale", "shear"],
)
def test_changes_equal_those_of_torchvision(change: AnyChange, most: float, options: Any) -> None:
    """One of the changes that torchvision makes within the range is each image, nearly."""
    smooth = functional.gaussian_blur(picture(20, 30)[None], [9, 9], [3.0, 3.0])[0]
    plain: dict[str, Any] = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    steps = torch.linspace(-most, most, 101).tolist()
    like = torch.stack(
        [
            functional.affine(
                smooth[None],
                **plain | options(step),
                interpolation=v2.InterpolationMode.BILINEAR,
            )[0]
            for step in steps
        ]
    )
    found = changed(smooth, change, rows=50).float()
    away = (found[:, None] - like.float()).square().mean((2, 3)).sqrt()
    nearest = away.min(1)
    assert nearest.values.max() < 3
    # They are spread over the whole range.
    assert nearest.indices.min() < 10
    assert nearest.indices.max() > 90


def test_shift_stays_within_its_share() -> None:
    image = torch.zeros(20, 40, dtype=torch.uint8)
    image[8:12, 18:22] = 255
    found = changed(image, Shift(shift=0.25)).double()
    where = torch.meshgrid(torch.arange(20.0), torch.arange(40.0), indexing="ij")
    for axis, size in zip(where, (20, 40), strict=True):
        centres = (found * axis).sum((1, 2)) / found.sum((1, 2)) - (size - 1) / 2
        assert centres.abs().max() == pytest.approx(0.25 * size, rel=0.1)
        assert centres.abs().max() <= 0.25 * size + 0.01


def test_changes_are_made_in_their_order() -> None:
    """A shift before a turn is turned with the image."""
    image = torch.zeros(41, 41, dtype=torch.uint8)
    image[19:22, 19:22] = 255
    where = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")

    def farthest(*changes: AnyChange) -> float:
        found = changed(image, *changes, rows=500).double()
        y, x = ((found * axis).sum((1, 2)) / found.sum((1, 2)) - 20 for axis in where)
        return float(torch.maximum(x.abs(), y.abs()).max())

    shift, turn = Shift(shift=0.25), Rotate(rotate=180)
    assert farthest(turn, shift) == pytest.approx(0.25 * 41, rel=0.05)
    assert farthest(shift, turn) > 0.25 * 41 * 1.15 < 0.25 * 41 * math.sqrt(2)


def test_colours_of_an_image_move_together() -> None:
    image = picture(9, 9).expand(3, 9, 9)
    found = changed(image, Rotate(rotate=45), Crop(crop=2), Flip())
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])
    assert len(found.unique(dim=0)) > 100


def test_change_of_a_row_depends_on_its_number_and_the_seed_only() -> None:
    changes = [Flip(), Rotate(rotate=10)]
    whole = draw(changes, 100, (28, 28), seed=5)
    assert torch.equal(draw(changes, 60, (28, 28), seed=5), whole[:60])
    assert not torch.equal(draw(changes, 60, (28, 28), seed=6), whole[:60])


def test_names_stand_for_defaults() -> None:
    spec = TrainingSpec.of(MNIST | {"augment": ["flip", {"crop": 2}]})
    assert spec.augment == [Flip(), Crop(crop=2)]
    document = spec.model_dump(mode="json")
    assert document["augment"] == [{"flip": "horizontal"}, {"crop": 2}]
    assert TrainingSpec.of(document) == spec


@pytest.mark.parametrize(
    ("augment", "loc", "message"),
    [
        (["rotate"], (0,), 'rotate needs a number; write {"rotate": …}'),
        (["flop"], (0,), "unknown change 'flop'; did you mean flip"),
        ([{"blur": 3}], (0,), "unknown change 'blur'; known: flip, crop, shift, rotate, scale"),
        ([{"crop": 2, "rotate": 3}], (0,), 'must be a name such as "flip", or a mapping'),
        ([3], (0,), "must be a name"),
        (["flip", {"crop": 28}], (1, "crop"), "must be less than 28, the shorter side"),
        ([{"scale": 1}], (0, "scale", "scale"), "less than or equal to 0.9"),
        ([{"flip": "sideways"}], (0, "flip", "flip"), "'horizontal' or 'vertical'"),
        (["flip"] * 17, (), "at most 16"),
    ],
)
def test_wrong_changes_are_refused(augment: Any, loc: tuple[Any, ...], message: str) -> None:
    with pytest.raises(Invalid, match=message) as error:
        TrainingSpec.of(MNIST | {"augment": augment})
    assert error.value.loc == ("augment", *loc)


def test_rows_are_not_changed() -> None:
    dataset = {"kind": "synthetic", "features": {"a": {"uniform": [0, 1]}}, "target": "a"}
    with pytest.raises(Invalid, match="changes images, and this data set has rows") as error:
        TrainingSpec.of({"dataset": dataset, "augment": ["flip"]})
    assert error.value.loc == ("augment",)
