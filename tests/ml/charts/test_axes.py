"""How charts write numbers."""

import pytest

from ml.charts.axes import domain, figure, is_code, number_axis, number_format

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [
        (1990, 2024, "f"),
        (-0.5, 12.5, "f"),
        (0, 0, "f"),
        (0, 9999, "f"),
        (0, 10_000, ",f"),
        (-250_000, 0, ",f"),
        (-3e9, 5, "~e"),
        (0, 2e-7, "~e"),
    ],
)
def test_formats_of_numbers(low: float, high: float, written: str) -> None:
    assert number_format(low, high) == written


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        *((name, True) for name in ("zip", "customer_id", "orderDate", "postal code", "邮编")),
        *((name, True) for name in ("PLZ", "почтовый индекс", "客户编号", "郵便番号")),
        *((name, False) for name in ("covid", "update", "income", "code size", "价格", "valid")),
    ],
)
def test_codes_are_known_by_their_last_word(name: str, is_one: bool) -> None:
    assert is_code(name) is is_one


def test_only_whole_numbers_are_codes() -> None:
    assert number_axis("id", [1e7, 2e7], 5).to_dict()["format"] == "f"
    assert number_axis("id", [1e7 + 0.5, None], 5).to_dict()["format"] == "~e"
    assert number_axis("x", [], 5).to_dict() == {"format": "f", "tickCount": 5}


def test_few_whole_numbers_have_whole_ticks() -> None:
    assert number_axis("rooms", [3, 1, None, 2], 5).to_dict()["values"] == [1, 2, 3]
    assert "values" not in number_axis("rooms", [1, 40], 5).to_dict()
    assert "values" not in number_axis("size", [1, 2.5], 5).to_dict()


def test_equal_ends_of_an_axis_are_moved_apart() -> None:
    assert domain(1, 2) == (1, 2)
    assert domain(0, 0) == (-0.5, 0.5)
    assert domain(-4, -4) == (-6, -2)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (40_520, "40,500"),
        (-1900.4, f"{MINUS}1,900"),
        (0.0123, "0.0123"),
        (0, "0"),
        (2.5e9, "2.5e9"),
        (1e-7, f"1e{MINUS}7"),
        (-6e23, f"{MINUS}6e23"),
    ],
)
def test_figures_have_three_digits(number: float, text: str) -> None:
    assert figure(number) == text
