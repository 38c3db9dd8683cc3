"""Warnings are few: like ones are folded, and repeated ones replaced."""

from typing import get_args

from ml.ingest.warning import MAX_ALIKE, MEANINGS, DataWarning, Kind, folded, merged, quoted


def constant(column: str | None, message: str = "is 5") -> DataWarning:
    return DataWarning(column=column, kind="constant", message=message)


def test_every_kind_has_a_meaning_in_alphabetical_order() -> None:
    assert list(MEANINGS) == list(get_args(Kind)) == sorted(MEANINGS)


def test_like_warnings_are_folded_into_one() -> None:
    empty = DataWarning(column="x", kind="empty", message="has no value")
    many = [constant(f"c{i}") for i in range(100)]
    found = folded([*many[:50], empty, *many[50:]])
    assert found[:MAX_ALIKE] == many[:MAX_ALIKE]
    assert found[-1] == empty
    assert found[MAX_ALIKE] == constant(
        None, "the same holds for 95 more columns: 'c5', 'c6', 'c7' and 92 more"
    )
    assert len(found) == MAX_ALIKE + 2
    assert folded(found) == found
    few = many[: MAX_ALIKE + 1]
    assert folded(few) == few, "a shared warning about one column would be longer than its own"
    unnamed = folded(constant(None) for _ in range(20))
    assert [w.message for w in unnamed[-2:]] == ["is 5", "there are 15 more warnings of this kind"]


def test_later_warnings_replace_those_about_the_same() -> None:
    held_out = DataWarning(column=None, kind="held_out", message="80 of 100 rows train")
    early = [held_out, constant("a"), constant("b")]
    later = [constant("a", "is 6"), constant("c")]
    assert merged(early, later) == [held_out, constant("b"), *later]
    assert merged(merged(early, later), later) == merged(early, later)
    assert merged(early, []) == early


def test_long_names_are_shortened_in_messages() -> None:
    assert quoted("a") == "'a'"
    assert len(quoted("x" * 200)) < 70
