"""The boundary around readers of foreign bytes."""

import logging

import pytest

from ml.decoding import decoding
from ml.errors import Invalid


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RecursionError("deep"), "the body is nested too deeply"),
        (MemoryError(), "the body needs more memory than there is; send it in smaller parts"),
        (KeyError("x"), "the body cannot be read; check its format"),
        (OSError("truncated"), "the body cannot be read; check its format"),
    ],
)
def test_an_unexpected_error_is_a_refusal_of_the_input_and_is_logged_once(
    error: Exception, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(Invalid) as caught, decoding("the body"):
        raise error
    assert caught.value.msg == message
    assert [record.getMessage() for record in caplog.records] == [
        f"the body cannot be read: {type(error).__name__}"
    ]


def test_a_reader_s_own_refusal_keeps_its_words_and_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(Invalid) as caught, decoding("the body"):
        raise Invalid("must be a number", ("inputs", 3))
    assert (caught.value.msg, caught.value.loc) == ("must be a number", ("inputs", 3))
    assert not caplog.records


def test_errors_of_other_kinds_pass_where_they_are_named() -> None:
    with pytest.raises(TimeoutError), decoding("the body", TimeoutError):
        raise TimeoutError
