"""Texts that look like numbers, and texts that do not."""

import pytest

from ml.ingest.number_like import likeness


@pytest.mark.parametrize(
    ("texts", "spelling"),
    [
        (["1,5", "2,25", "-3,0", ",5", "1.234,56"], "decimal comma"),
        (["1,234", "12,345,678", "1,234.5"], "thousands"),
        (["1.234.567", "2.000.000"], "thousands"),
        (["1 234", "1\u202f234,5", "1'234"], "thousands"),
        (["12%", "3.5 %", "-0,5%"], "percent"),
        (["$3.50", "-$1,200", "($4)"], "currency"),
        (["€ 3", "3,50 €", "EUR 5", "12 kr"], "currency"),
        (["(1,234)", "(5)", "7-"], "parentheses"),
        (["<0.1", "> 5", "≤3", "~7"], "bound"),
        (["12 kg", "13.5 kg", "1,5 kg"], "unit"),
        (["20°C", "-3°C"], "unit"),
        (["\u22123", "\u22124.5"], "plain"),
        ([*map(str, range(19)), "n/d"], "plain"),
        ([*map(str, range(12)), "12%"], "percent"),
    ],
)
def test_numbers_in_other_spellings_are_recognised(texts: list[str], spelling: str) -> None:
    found = likeness(texts)
    assert found is not None
    assert found.spelling == spelling
    assert found.example in texts


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["red", "green"],
        ["v1.0", "v2.0"],
        ["u001", "u002"],
        ["1.2.3", "1.10.0"],
        ["2024-01-05", "2024-02-06"],
        ["31.12.2024", "01.01.2025"],
        ["12:30", "13:45"],
        ["0-17", "18-64"],
        ["192.168.1.1", "10.0.0.1"],
        ["1st", "2nd", "3rd", "4th"],
        ["12 kg", "30 cm"],
        ["1", "2", "many"],
        ["+49 170 1234567"],
    ],
)
def test_other_texts_are_not_numbers(texts: list[str]) -> None:
    assert likeness(texts) is None


def test_odd_text_is_named() -> None:
    found = likeness([*map(str, range(30)), "-", "30"])
    assert found is not None
    assert (found.like, found.total, found.odd) == (31, 32, "-")
