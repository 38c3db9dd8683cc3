"""Words for splits in any case and spelling: one table for folders, arrays and columns."""

import pytest

from ml.ingest.npz.form import role
from ml.ingest.splits import part_of, parts_within
from ml.ingest.zips.folders import layout

SPELLINGS = {
    "train": "train Train TRAINING training_set Train-Set trainset in_train trn train.rows "
    "train2017 seg_train Training\xa0Data train-images",
    "validation": "VALID val Validation dev Dev-Set development validation_split isVal tuning "
    "val_set val2017",
    "test": "Test TESTING testing test_set holdout Hold-Out held_out HOLDOUT tst is_test test1 "
    "test_images",
}


@pytest.mark.parametrize(("part", "spellings"), SPELLINGS.items())
def test_splits_are_recognised_in_any_spelling(part: str, spellings: str) -> None:
    words = spellings.split(" ")
    assert {word: part_of(word) for word in words} == dict.fromkeys(words, part)
    assert part_of(f" {part} set ") == part


@pytest.mark.parametrize(
    "word",
    [
        *("", "1", "red", "eval", "contest", "latest", "valley", "fortran"),
        *("trainer", "trains", "tests", "traintest", "tests!x", "x_train"),
    ],
)
def test_other_words_are_not_guessed(word: str) -> None:
    assert part_of(word) is None


@pytest.mark.parametrize(("part", "spellings"), SPELLINGS.items())
def test_folders_and_arrays_know_the_same_words(part: str, spellings: str) -> None:
    for word in ("Trn", "VAL", "dev", "tuning", "Hold-Out", "held_out", "heldout", "TST"):
        if part_of(word) == part:
            assert parts_within(f"x_{word}") == [("x_", part)]
            assert role(f"{word}Images") == role(f"X_{word}") == "inputs"
            first = "test" if part == "train" else "train"
            folders = [(split, name) for split in (first, word) for name in ("cats", "dogs")]
            assert layout(folders).splits[word, "cats"] == part


@pytest.mark.parametrize("name", ["train", "x", "x_train_y", "contest_x"])
def test_other_names_are_of_no_split(name: str) -> None:
    assert parts_within(name) == []
