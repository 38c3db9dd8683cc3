"""The format of a column's dates is inferred from all of its values."""

import pyarrow as pa
import pytest

from ml.errors import Invalid
from ml.spelling.date_formats import DateStyle
from ml.spelling.date_guess import DateGuess, ambiguity, is_day_first, short_years


def guess(
    texts: list[str | None], style: DateStyle | None = None, is_declared: bool = False
) -> DateGuess:
    found = DateGuess(style, is_declared or style is not None)
    for start in range(0, len(texts), 7):
        found.see(pa.array(texts[start : start + 7], pa.string()), 2 + start)
    return found


def form_of(texts: list[str | None]) -> str | None:
    reading = guess(texts).reading()
    return reading and reading.form.name


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        ([None, "2024-12-31", None, "2025-01-01T05:00:00+01:00"], "YYYY-MM-DD"),
        (["31.12.2024", "1.2.2024"], "DD.MM.YYYY"),
        (["03.04.2024"], "DD.MM.YYYY"),
        (["12.31.2024", "03.04.2024"], "MM.DD.YYYY"),
        (["31/12/2024", "03/04/2024"], "DD/MM/YYYY"),
        (["03/04/2024", "12/31/2024 11:59 PM"], "MM/DD/YYYY"),
        (["1/8/90 0:00", "12/31/99 23:00"], "MM/DD/YY"),
        (["Jan 1 2000", "Feb 29 2000"], "Mon DD, YYYY"),
        (["31-Dec-2024"], "DD-Mon-YYYY"),
        (["1949-01", "1949-02", "1960-12"], "YYYY-MM"),
        (["20241231T235959Z"], "YYYYMMDD"),
        # Seasons, versions, shares, codes and words are no dates.
        (["2009-10", "2010-11", "2011-12"], None),
        (["1.2.10", "1.2.11", "2.0.12"], None),
        (["1/2", "3/4"], None),
        (["2024-12-31", "31.12.2024"], None),
        (["2024-12-31", "soon"], None),
        (["31.02.2024", "01.03.2024"], None),
        (["a-b-c", "May"], None),
        (["2024", "2025"], None),
        ([None, None], None),
        ([], None),
    ],
)
def test_format_is_that_of_all_values(texts: list[str | None], form: str | None) -> None:
    assert form_of(texts) == form


def test_later_batches_decide_between_formats() -> None:
    assert form_of(["03/04/2024"] * 50 + ["31/12/2024"]) == "DD/MM/YYYY"
    assert form_of(["03/04/2024"] * 50 + ["12/31/2024"]) == "MM/DD/YYYY"
    assert form_of(["03/04/2024"] * 50 + ["12/31/2024", "31/12/2024"]) is None


def test_day_and_month_that_could_be_exchanged_are_told() -> None:
    reading = guess(["03/04/2024", "05/06/2024"]).reading()
    assert reading is not None
    assert ambiguity("when", reading) == (
        "'when' may have the day or the month first, since neither is over 12 in any row; it is "
        "read as MM/DD/YYYY, so 03/04/2024 is 2024-03-04; if the day comes first, name the column "
        "in `day_first`"
    )
    assert short_years("when", reading) is None
    clear = guess(["03/04/2024", "31/05/2024"])
    found = clear.reading()
    assert found is not None
    assert ambiguity("then", found) is None
    assert is_day_first([guess(["03/04/2024"]), clear, guess(["a"]), guess(["2024-01-01"])])
    assert not is_day_first([guess(["03/04/2024"]), clear, guess(["12/31/2024"])])
    assert not is_day_first([guess(["03/04/2024"]), guess(["31 Dec 2024"])])
    message = ambiguity("when", reading.day_first())
    assert message is not None
    assert "03/04/2024 is 2024-04-03; if the month comes first" in message
    named = guess(["03/04/2024"], "day_first").reading()
    assert named is not None
    assert ambiguity("when", named) is None


def test_years_of_two_digits_are_told() -> None:
    reading = guess(["31.12.68", "31.12.69"]).reading()
    assert reading is not None
    assert short_years("born", reading) == (
        "'born' has years of two digits, which are read as 1969 to 2068: 31.12.68 is 2068-12-31"
    )


def test_many_dates_and_few_others_are_a_mistake() -> None:
    found = guess([f"2024-01-{day:02}" for day in range(1, 31)] + ["2024-02-30", "later"])
    assert found.reading() is None
    assert found.fault("when") == (
        "row 32, column 'when': '2024-02-30' is not a date like 2024-12-31 (YYYY-MM-DD), but 30 of "
        "32 values are; correct it, add it to `missing`, or add the column to `categorical`"
    )
    assert guess(["2024-01-01", "2024-02-30"]).fault("when") is None


@pytest.mark.parametrize(
    ("texts", "style", "message"),
    [
        (
            ["31.12.2024", "31.02.2024"],
            None,
            r"row 3, column 'when': '31.02.2024' is not a date like 31.12.2024 \(DD.MM.YYYY\)",
        ),
        (["soon"], None, "row 2, column 'when': 'soon' is not a date; dates are written like 2024"),
        (["1735603200"], None, "name the column in `epoch_seconds` or `epoch_milliseconds`"),
        (["12/31/2024"], "day_first", "'12/31/2024' is not a date; dates are written like 31.12"),
        (["17x"], "epoch_seconds", "'17x' is not a date; dates are written like 1735603200"),
    ],
)
def test_declared_column_is_refused_by_row(
    texts: list[str | None], style: DateStyle | None, message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        guess(texts, style, is_declared=True).declared("when")


@pytest.mark.parametrize(
    ("texts", "style", "form"),
    [
        (["20241231", "20250101"], None, "YYYYMMDD"),
        (["1987", "2024"], None, "YYYY"),
        (["24-12-31"], "year_first", "YY-MM-DD"),
        (["03/04/2024"], "day_first", "DD/MM/YYYY"),
        (["2011-12"], None, "YYYY-MM"),
        (["1735603200"], "epoch_seconds", "epoch seconds"),
        (["1735603200000", "1.7e12"], "epoch_milliseconds", "epoch milliseconds"),
    ],
)
def test_declared_column_may_be_written_in_more_ways(
    texts: list[str | None], style: DateStyle | None, form: str
) -> None:
    reading = guess(texts, style, is_declared=True).declared("when")
    assert reading is not None
    assert reading.form.name == form
