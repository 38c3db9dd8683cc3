"""Arrays and tensors are made of a known type.

numpy and torch guess the type from every value. Given one long text among a thousand numbers, numpy
makes a thousand long texts. Code names the type, after it has counted the values and checked what
they are.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
GUESSING = {
    "np": {"array": 2, "asarray": 2, "asanyarray": 2, "ascontiguousarray": 2, "shape": None},
    "torch": {"tensor": None, "as_tensor": 2, "asarray": None},
}
"""Functions that guess a type, and at which argument it may be given by position."""
OWN_VALUES = {
    "ml/charts": "arrays of figures of our own",
    "ml/ingest/preview.py": "rows of a stored array",
    "ml/images": "decoded images, which have a type",
    "ml/training": "tensors and numbers of our own",
    "ml/evaluation/metrics.py": "a constant",
    "ml/datasets/__init__.py": "indices of our own",
    "ml/datasets/mnist.py": "constants",
    "ml/datasets/table_columns.py": "a column that Arrow has cast to numbers",
    "ml/expressions/values.py": "the result, which is a tensor",
    "service/open_inference/wire.py": "predictions, which are arrays",
    "service/routes/datasets.py": "a constant",
}
"""Files and folders in which such a call meets no value of a client, and the reason."""


def guesses(source: str) -> Iterator[int]:
    """Yield the line of each call that does not name a type."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)):
                if name not in GUESSING.get(module, {}):
                    continue
                position = GUESSING[module][name]
                named = any(keyword.arg == "dtype" for keyword in node.keywords)
                if not named and (position is None or len(node.args) < position):
                    yield node.lineno


def test_no_type_is_guessed_from_values_of_a_client() -> None:
    found = []
    for path in [*REPOSITORY.glob("ml/**/*.py"), *REPOSITORY.glob("service/**/*.py")]:
        place = path.relative_to(REPOSITORY).as_posix()
        if not any(place == own or place.startswith(f"{own}/") for own in OWN_VALUES):
            found += [f"{place}:{line}" for line in guesses(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("np.asarray(values)", 1),
        ("np.array(values, np.float32)", 0),
        ("np.array(values, dtype=object)", 0),
        ("np.shape(values)", 1),
        ("torch.tensor(values)", 1),
        ("torch.tensor(values, dtype=torch.int64)", 0),
        ("f(np.array(g(np.asarray(x))))", 2),
    ],
)
def test_calls_that_guess_are_seen(source: str, count: int) -> None:
    assert len(list(guesses(source))) == count
