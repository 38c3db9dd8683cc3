"""Dates: the same instants for columns and for single values."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml.spelling import dates
from ml.spelling.date_formats import FORMATS, ISO, MILLISECONDS, SECONDS

NOON = datetime(2024, 12, 31, 12, tzinfo=UTC)
DAYS = {
    "YYYY-MM-DD": "2024-12-31",
    "YYYY/MM/DD": "2024/12/31",
    "YYYY.MM.DD": "2024.12.31",
    "YYYYMMDD": "20241231",
    "DD.MM.YYYY": "31.12.2024",
    "DD/MM/YYYY": "31/12/2024",
    "DD-MM-YYYY": "31-12-2024",
    "MM/DD/YYYY": "12/31/2024",
    "MM-DD-YYYY": "12-31-2024",
    "MM.DD.YYYY": "12.31.2024",
    "DD-Mon-YYYY": "31-Dec-2024",
    "DD Mon YYYY": "31 December 2024",
    "DD/Mon/YYYY": "31/DEC/2024",
    "DDMonYYYY": "31dec2024",
    "Mon DD, YYYY": "Dec 31, 2024",
    "YYYY-Mon-DD": "2024-Dec-31",
    "DD.MM.YY": "31.12.24",
    "DD/MM/YY": "31/12/24",
    "DD-MM-YY": "31-12-24",
    "DD-Mon-YY": "31-Dec-24",
    "DD Mon YY": "31 Dec 24",
    "MM/DD/YY": "12/31/24",
    "MM-DD-YY": "12-31-24",
    "YY-MM-DD": "24-12-31",
    "YY/MM/DD": "24/12/31",
    "YY.MM.DD": "24.12.31",
}
OTHERS = {"YYYY", "YYYY-MM", "Mon YYYY", "epoch seconds", "epoch milliseconds"}
TIMES = {
    "": timedelta(0),
    "T12:00": timedelta(hours=12),
    " 12:00:00": timedelta(hours=12),
    "T23:59:59.5": timedelta(hours=23, minutes=59, seconds=59.5),
    " 23:59:59,123456789": timedelta(hours=23, minutes=59, seconds=59, microseconds=123456),
    "T12:00:00Z": timedelta(hours=12),
    " 12:00:00 UTC": timedelta(hours=12),
    "T12:00:00+05:30": timedelta(hours=6, minutes=30),
    " 12:00:00-0800": timedelta(hours=20),
    "t12:00:00+02": timedelta(hours=10),
}
CLOCKS = {
    " 9:05": timedelta(hours=9, minutes=5),
    ", 11:59:59 PM": timedelta(hours=23, minutes=59, seconds=59),
    " 12:30 am": timedelta(minutes=30),
    " 12:30 p.m.": timedelta(hours=12, minutes=30),
    ":12:00:00 +0100": timedelta(hours=11),
}


def moment(instant: int | None) -> datetime | None:
    return None if instant is None else dates.EPOCH + timedelta(microseconds=instant)


def column(texts: list[str | None], form: str) -> list[datetime | None]:
    found: list[datetime | None] = dates.instants(
        pa.array(texts, pa.string()), FORMATS[form]
    ).to_pylist()
    return found


def test_every_format_is_known() -> None:
    assert {*DAYS, *OTHERS} == {*FORMATS}
    assert [form.example for form in FORMATS.values() if form.unit] == [
        "1735603200",
        "1735603200000",
    ]
    for form in FORMATS.values():
        assert dates.instant(form.example, form) is not None


@pytest.mark.parametrize("form", DAYS)
def test_dates_and_times_are_read_alike_as_column_and_as_value(form: str) -> None:
    times = TIMES if form == "YYYYMMDD" else TIMES | CLOCKS
    texts = [DAYS[form] + time for time in times]
    expected = [datetime(2024, 12, 31, tzinfo=UTC) + time for time in times.values()]
    assert column([*texts, None], form) == [*expected, None]
    assert [moment(dates.instant(text, FORMATS[form])) for text in texts] == expected


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("YYYY", "1987", date(1987, 1, 1)),
        ("YYYY-MM", "1949-02", date(1949, 2, 1)),
        ("Mon YYYY", "Sept 2001", date(2001, 9, 1)),
        ("Mon DD, YYYY", "January 2nd 2000", date(2000, 1, 2)),
        ("DD Mon YYYY", "Tue, 31 Dec 2024 00:00:00 GMT", date(2024, 12, 31)),
        ("YYYYMMDD", "20241231T000000Z", date(2024, 12, 31)),
        ("YYYYMMDD", "202412310000", date(2024, 12, 31)),
        ("YYYY-MM-DD", "2024-1-5", date(2024, 1, 5)),
        ("YYYY-MM-DD", "2024-02-29", date(2024, 2, 29)),
        ("YYYY-MM-DD", "2000-02-29", date(2000, 2, 29)),
        ("YYYY-MM-DD", "0001-01-01", date(1, 1, 1)),
        ("YYYY-MM-DD", "9999-12-31", date(9999, 12, 31)),
        ("DD.MM.YY", "31.12.68", date(2068, 12, 31)),
        ("DD.MM.YY", "31.12.69", date(1969, 12, 31)),
        ("YYYY-MM-DD", "2023-02-29", None),
        ("YYYY-MM-DD", "1900-02-29", None),
        ("YYYY-MM-DD", "0000-01-01", None),
        ("YYYY-MM-DD", "0001-01-01T00:00+01:00", None),
        ("YYYY-MM-DD", "9999-12-31T23:59-01:00", None),
        ("YYYY-MM-DD", "2024-13-01", None),
        ("YYYY-MM-DD", "2024-00-01", None),
        ("YYYY-MM-DD", "2024-01-00", None),
        ("YYYY-MM-DD", "2024-01-01T24:00", None),
        ("YYYY-MM-DD", "2024-01-01T12:60", None),
        ("YYYY-MM-DD", "2024-01-01 13:00 PM", None),
        ("YYYY-MM-DD", "2024-01-01T00:00+24:00", None),
        ("YYYY-MM-DD", "2024-01-01T00:00+01:60", None),
        ("YYYY-MM-DD", "2024-01-01\n", None),
        ("YYYY-MM-DD", "٢٠٢٤-01-01", None),
        ("YYYY-MM-DD", "2024-01-01 ", None),
        ("DD.MM.YYYY", "31.02.2024", None),
        ("DD.MM.YYYY", "12.31.2024", None),
        ("DD.MM.YY", "1.2.10", None),
        ("DD-Mon-YYYY", "31-Dez-2024", None),
        ("Mon DD, YYYY", "Dec 31st of 2024", None),
        ("YYYY", "", None),
    ],
)
def test_leap_years_limits_and_impossible_dates(
    form: str, text: str, expected: date | None
) -> None:
    wanted = expected and datetime.combine(expected, datetime.min.time(), UTC)
    assert column([text], form) == [wanted]
    assert moment(dates.instant(text, FORMATS[form])) == wanted


@pytest.mark.parametrize("form", [SECONDS, MILLISECONDS], ids=str)
@pytest.mark.parametrize(
    "text", ["1735603200", "+1.5", "-1e3", "0.0000015", "1e999", "", "x", "1,0"]
)
def test_numbers_that_count_from_1970(form: dates.DateFormat, text: str) -> None:
    by_hand = {"1735603200": 1735603200, "+1.5": 1.5, "-1e3": -1000, "0.0000015": 1.5e-6}.get(text)
    assert form.unit is not None
    expected = None if by_hand is None else round(by_hand * form.unit)
    assert dates.instant(text, form) == expected
    assert dates.instants(pa.array([text]), form).cast(pa.int64()).to_pylist() == [expected]


PIECES = st.sampled_from(
    [
        *"0123456789-/.:,TZz +",
        "2024",
        "12",
        "31",
        "29",
        "02",
        "Feb",
        "december",
        "PM",
        "am",
        "+01:00",
        "GMT",
    ]
)
MADE_UP = st.builds(
    "{}{}{}{}{}{}".format,
    *[
        st.sampled_from(["2024", "1900", "0", "31", "29", "12", "2", "02", "00", "Feb", "99"]),
        st.sampled_from("-/. "),
    ]
    * 2,
    st.sampled_from(["2024", "2023", "31", "29", "28", "0000", "13", "07", "24"]),
    st.sampled_from(
        ["", " 12:30", "T24:00", "T00:00:60", " 11:59 PM", "T1:00+01:00", ":00:00:00.0000009"]
    ),
)


@settings(deadline=None, max_examples=15)
@given(st.lists(MADE_UP | st.lists(PIECES, max_size=12).map("".join), min_size=10, max_size=40))
@example(["2024-02-30", "\u017fep 1, 2024", "1 \u017fep 2024"])
def test_a_column_and_a_value_agree(texts: list[str]) -> None:
    for form in FORMATS.values():
        found = dates.instants(pa.array(texts), form).cast(pa.int64()).to_pylist()
        assert found == [dates.instant(text, form) for text in texts], form


@settings(deadline=None, max_examples=30)
@given(st.datetimes(timezones=st.just(UTC)))
def test_every_moment_survives_being_written(moment: datetime) -> None:
    found = dates.instant(moment.isoformat(), ISO)
    assert found is not None
    assert dates.EPOCH + timedelta(microseconds=found) == moment
    assert dates.instant(dates.written(found, with_time=True), ISO) == found
    column = pa.array([found, None]).cast(dates.TYPE)
    assert dates.days_of(column)[0] == dates.days(found)
    assert np.isnan(dates.days_of(column)[1])


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.date64(), *map(pa.timestamp, ("s", "ms", "us", "ns"))], ids=str
)
def test_dates_and_timestamps_of_arrow_become_instants(kind: pa.DataType) -> None:
    values = pa.array([date(2024, 2, 29), date(1970, 1, 1), None]).cast(kind)
    found = dates.from_timestamps(values)
    assert found.type == dates.TYPE
    assert found.to_pylist() == [datetime(2024, 2, 29, tzinfo=UTC), dates.EPOCH, None]


def test_a_zone_of_arrow_does_not_move_the_instant() -> None:
    values = pa.array([NOON], pa.timestamp("us", "Asia/Tokyo"))
    assert dates.from_timestamps(values).to_pylist() == [NOON]
    far = pa.array([2**62, -(2**62), 0], pa.timestamp("s"))
    assert dates.from_timestamps(far).to_pylist() == [None, None, dates.EPOCH]
