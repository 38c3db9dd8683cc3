"""Unknown categories in the rows of a table."""

import numpy as np

from ml.inputs.table_rows import TableReader
from ml.signature import Encoding, Features

READER = TableReader(
    Features(
        names=["size", "zip", "warm", "colour"],
        encoding=Encoding(
            booleans=["warm"], categories={"zip": ["1", "2"], "colour": ["red"]}, width=5
        ),
    )
)


def test_unknown_categories_are_found_by_row_and_feature() -> None:
    rows = [[1, "1", True, "blue"], [-1, None, False, "red"], [1, "x", None, "y" * 300]]
    array = READER.rows(rows)
    assert READER.unknown(array).tolist() == [[0, 3], [2, 1], [2, 3]]
    assert READER.unknown(array[1:2]).shape == (0, 2)
    assert READER.values(rows[0], [3]) == {"colour": "blue"}
    assert READER.values(rows[2], [1, 3]) == {"zip": "x", "colour": "y" * 200 + "…"}
    assert READER.values({"zip": "x", "size": 1}, [1]) == {"zip": "x"}


def test_rows_of_numbers_have_no_unknown_categories() -> None:
    numbers = TableReader(Features(names=["size"], encoding=Encoding(width=1)))
    assert numbers.unknown(np.array([[-1.0]])).shape == (0, 2)
