"""Splits and classes, from the folders of a zip."""

import pytest

from ml.errors import Invalid
from ml.ingest.zips.folders import Folder, class_names, layout


def folders(*paths: str) -> list[Folder]:
    return [tuple(path.split("/")) if path else () for path in paths]


def classes(*paths: str) -> dict[str, str]:
    found = layout(folders(*paths))
    return {
        "/".join(folder): found.classes[folder]
        for folder in folders(*paths)
        if folder in found.classes
    }


def splits(*paths: str) -> dict[str, str]:
    found = layout(folders(*paths))
    return {
        "/".join(folder): found.splits[folder]
        for folder in folders(*paths)
        if folder in found.splits
    }


@pytest.mark.parametrize("parent", ["", "photos/", "a/b/c/"])
def test_common_parents_are_ignored(parent: str) -> None:
    paths = [f"{parent}cats", f"{parent}dogs"]
    assert list(classes(*paths).values()) == ["cats", "dogs"]
    assert splits(*paths) == {}


@pytest.mark.parametrize("parent", ["", "data/", "a/b/"])
@pytest.mark.parametrize("inner", ["", "images/"])
def test_folders_of_splits(parent: str, inner: str) -> None:
    paths = [
        f"{parent}{split}/{inner}{name}"
        for split in ("Training", "valid", "TEST")
        for name in ("cats", "dogs")
    ]
    assert list(classes(*paths).values()) == ["cats", "dogs"] * 3
    parts = ["train", "train", "validation", "validation", "test", "test"]
    assert list(splits(*paths).values()) == parts


def test_splits_within_classes() -> None:
    paths = ["cats/train", "cats/test", "dogs/train", "dogs/test"]
    assert list(classes(*paths).values()) == ["cats", "cats", "dogs", "dogs"]
    assert list(splits(*paths).values()) == ["train", "test"] * 2


def test_a_single_split_is_a_common_parent() -> None:
    assert classes("train/cats", "train/dogs") == {"train/cats": "cats", "train/dogs": "dogs"}
    assert splits("train/cats", "train/dogs") == {}


def test_images_beside_classes_have_none() -> None:
    paths = ["", "photos", "photos/cats", "photos/dogs"]
    assert set(classes(*paths)) == {"photos/cats", "photos/dogs"}
    paths = ["train", "train/cats", "train/dogs", "val/cats", "test"]
    assert set(classes(*paths)) == {"train/cats", "train/dogs", "val/cats"}
    paths = ["train/x", "train/x/cats", "val/x/dogs"]
    assert set(classes(*paths)) == {"train/x/cats", "val/x/dogs"}


def test_classes_may_have_the_names_of_splits() -> None:
    assert list(classes("train", "bus", "car").values()) == ["train", "bus", "car"]
    paths = ["train/train", "train/bus", "test/train", "test/bus"]
    assert list(classes(*paths).values()) == ["train", "bus", "train", "bus"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["x/a", "y/b"], "'x/a' and 'y/b', so that the classes cannot be told"),
        (["a", "b/c"], "'b/c' and 'a', so that"),
        (["a", "a/b", "c"], "'a/b' and 'a', so that"),
        (["train", "test"], "has images in 'test' itself; put them into a folder for each class"),
        (["train/a", "test/a", "more/a"], "a folder 'more' beside 'test', which is a split"),
    ],
)
def test_unclear_folders_are_refused(paths: list[str], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        classes(*paths)


def test_images_in_no_folder_are_refused() -> None:
    with pytest.raises(Invalid, match="images in no folder"):
        layout([()])


def test_names_that_differ_by_case_in_different_splits_are_one_class() -> None:
    found = class_names([("cats", "test"), ("Cats", "train"), ("dogs", "train")])
    assert set(found.names.values()) == {"Cats", "dogs"}
    assert found.joined == [("cats", "Cats")]
    assert found.alike == []


def test_names_that_differ_by_case_side_by_side_are_two_classes() -> None:
    found = class_names([("a", "train"), ("A", "train"), ("a", "test"), ("B", None)])
    assert found.names["a", "test"] == "a"
    assert found.names["A", "train"] == "A"
    assert (found.joined, found.alike) == ([], [("A", "a")])


def test_blanks_around_names_do_not_count() -> None:
    found = class_names([("cats ", None), ("cats", None), (" dogs", None)])
    assert set(found.names.values()) == {"cats", "dogs"}
    assert found.joined == [(" dogs", "dogs"), ("cats ", "cats")]
