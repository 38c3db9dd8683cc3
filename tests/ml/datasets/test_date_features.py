"""Dates as features: what a network gets for them, and what predictions take."""

import math
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml import datasets
from ml.errors import Invalid
from ml.evaluation import compatibility
from ml.evaluation.metrics import evaluate
from ml.losses import LOSSES
from ml.models import Embed
from ml.preprocessing import date_parts
from ml.signature import DATE_PARTS, DateEncoding, Encoding, Features
from ml.specs import TrainingSpec
from ml.training import checkpoints, loop
from ml.training.engines.choose import choose
from ml.training.initial_model import build
from ml.training.run import Run
from tests.ml.shelf import CPU, Shelf

EPOCH = datetime(1970, 1, 1)
START = date(2023, 11, 20)
ALL_TRAIN = {"test": 0.0}
ADAM = {"kind": "adam", "lr": 0.05}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def encoding_of(spec: TrainingSpec, shelf: Shelf) -> Encoding:
    inputs = shelf.load(spec).signature.inputs
    assert isinstance(inputs, Features)
    assert inputs.encoding is not None
    return inputs.encoding


def daily(form: str, days: int = 90, step: timedelta = timedelta(days=1)) -> str:
    """Return a table whose target grows by 2 a day."""
    moments = [datetime.combine(START, datetime.min.time()) + step * n for n in range(days)]
    rows = "\n".join(f'"{moment.strftime(form)}",{2 * n + 5}' for n, moment in enumerate(moments))
    return f"when,y\n{rows}"


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 30)))
def test_parts_of_a_date_are_those_of_the_calendar(moment: datetime) -> None:
    days = (moment - EPOCH) / timedelta(days=1)
    [[parts]] = date_parts(torch.tensor([[days]], dtype=torch.float64), torch.zeros(1)).tolist()
    # Rounding may carry the last microseconds of a day over into the next.
    moment = EPOCH + timedelta(days=math.floor(days))
    expected = [days, moment.year]
    time = days - math.floor(days)
    for turn in ((moment.month - 1) / 12, moment.weekday() / 7, time):
        expected += [math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)]
    assert parts == pytest.approx(expected, abs=1e-9)


def test_table_of_dates_is_encoded_by_the_parts_that_vary(shelf: Shelf) -> None:
    spec = shelf.spec({"id": shelf.put(daily("%d.%m.%Y")), "target": "y"}, split=ALL_TRAIN)
    data = shelf.load(spec)
    encoding = encoding_of(spec, shelf)
    parts = [part for part in DATE_PARTS if not part.startswith("time")]
    assert encoding.dates == {"when": DateEncoding(first="2023-11-20", parts=parts)}
    assert encoding.spelling("when").date == "DD.MM.YYYY"
    assert encoding.width == 6
    encoded = data.preprocessing(data.train.inputs)
    torch.testing.assert_close(encoded.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded.std(0, correction=0), torch.ones(6), atol=1e-5, rtol=0)
    gap = data.preprocessing(torch.tensor([[math.nan]], dtype=torch.float64))
    assert gap.tolist() == [[0.0] * 6], "a gap is the mean of each part"


@pytest.mark.parametrize(
    ("step", "parts"),
    [
        (timedelta(weeks=1), ["days"]),
        (timedelta(hours=28), ["days", "weekday_sin", "weekday_cos", "time_sin", "time_cos"]),
        (timedelta(minutes=1), ["days", "time_sin", "time_cos"]),
        (timedelta(weeks=5), ["days", "year", "month_sin", "month_cos"]),
    ],
)
def test_parts_that_do_not_vary_are_left_out(
    shelf: Shelf, step: timedelta, parts: list[str]
) -> None:
    # Of November 2023 there are still two Mondays.
    text = daily("%Y-%m-%d %H:%M", 2 if step == timedelta(weeks=1) else 5, step)
    spec = shelf.spec({"id": shelf.put(text), "target": "y"}, split=ALL_TRAIN)
    assert encoding_of(spec, shelf).dates["when"].parts == parts


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y", "%m/%d/%Y", "%b %d, %Y"])
def test_predictions_take_the_dates_of_the_file(shelf: Shelf, form: str) -> None:
    spec = shelf.spec(
        {"id": shelf.put(daily(form)), "target": "y", "features": {"when": "numeric"}},
        optimizer=ADAM,
        epochs=150,
    )
    model, manifest = shelf.model(spec)
    day = START + timedelta(days=100)
    rows = [[day.strftime(form)], {"when": f" {day.strftime(form)} "}, [day.isoformat()]]
    found = [model.predict(model.rows([row])).lists[0][0] for row in rows]
    assert found == pytest.approx([205] * 3, rel=0.02)
    assert found[0] == found[1] == found[2]
    assert manifest.linear is not None
    assert manifest.linear.weights == {"when.days": pytest.approx(2, rel=0.02)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2024/01/31", r"must be a date like 31.12.2024 \(DD.MM.YYYY\) or 2024-12-31"),
        ("31.02.2024", "must be a date like 31.12.2024"),
        ("soon", "not the string 'soon'"),
        (20240131, "must be a date like .*, not int"),
        (True, "must be a date like .*, not bool"),
        ([], "must be a date like .*, not a list"),
    ],
)
def test_other_values_are_refused(shelf: Shelf, value: object, message: str) -> None:
    dataset = shelf.put(daily("%d.%m.%Y", 9))
    model, _ = shelf.model(shelf.spec({"id": dataset, "target": "y"}, epochs=1))
    for row, place in (([value], 0), ({"when": value}, "when")):
        with pytest.raises(Invalid, match=message) as error:
            model.rows([row])
        assert error.value.loc == (0, place)
    assert math.isnan(model.rows([[None]])[0, 0])
    with pytest.raises(Invalid, match=r"takes dates \(when\); send rows as JSON"):
        model.array(torch.zeros(1, 1).numpy())


@pytest.mark.parametrize(("unit", "style"), [(1, "epoch_seconds"), (1000, "epoch_milliseconds")])
def test_numbers_since_1970_are_dates_where_the_user_says_so(
    shelf: Shelf, unit: int, style: str
) -> None:
    seconds = [1_700_000_000 + 3600 * n for n in range(9)]
    text = "t,y\n" + "\n".join(f"{second * unit},{n}" for n, second in enumerate(seconds))
    dataset = shelf.put(text, types={"t": "date"}, dates={"t": style})
    model, _ = shelf.model(shelf.spec({"id": dataset, "target": "y"}, epochs=1))
    rows = [[seconds[3] * unit], [str(seconds[3] * unit)], ["2023-11-15T01:13:20Z"]]
    assert [row.tolist() for row in model.rows(rows)] == [[seconds[3] / 86400]] * 3
    with pytest.raises(Invalid, match="must be a date like"):
        model.rows([[10.0**30]])


GAPPY = "when,colour,y\n" + "".join(
    f"{'' if n % 5 == 0 else START + timedelta(days=10 * n)},{'ab'[n % 2]},{n % 7}\n"
    for n in range(40)
)


def test_formula_names_the_parts(shelf: Shelf) -> None:
    spec = shelf.spec({"id": shelf.put(GAPPY), "target": "y"}, epochs=3, optimizer=ADAM)
    model, manifest = shelf.model(spec)
    formula, inputs = manifest.linear, manifest.signature.inputs
    assert formula is not None
    assert isinstance(inputs, Features)
    assert inputs.encoding is not None
    first = date.fromisoformat(inputs.encoding.dates["when"].first)
    for day in (date(2024, 7, 14), None):
        named: dict[str, float] = {"colour=b": 1}
        if day is None:
            named["when is missing"] = 1
        else:
            month, weekday = math.tau * (day.month - 1) / 12, math.tau * day.weekday() / 7
            named |= {"when.days": (day - first).days, "when.year": day.year}
            named |= {"when.month_sin": math.sin(month), "when.month_cos": math.cos(month)}
            named |= {"when.weekday_sin": math.sin(weekday), "when.weekday_cos": math.cos(weekday)}
        expected = sum(formula.weights[name] * value for name, value in named.items())
        found = model.predict(model.rows([[day and day.isoformat(), "b"]])).lists[0][0]
        assert found == pytest.approx(expected + formula.bias, rel=1e-3)


def test_embeddings_and_dates_do_not_mix(shelf: Shelf) -> None:
    model = {"kind": "mlp", "hidden": [8], "embedding": 3}
    spec = shelf.spec({"id": shelf.put(GAPPY), "target": "y"}, model=model, epochs=1)
    run, data = shelf.train(spec)
    embed = run.model.get_submodule("network.0")
    assert isinstance(embed, Embed)
    encoded = data.preprocessing(data.train.inputs)
    embedded = embed(encoded)
    torch.testing.assert_close(embedded[:, :6], encoded[:, :6])
    assert embedded.shape[1] == 6 + 3 + 1


def test_dates_can_be_categories(shelf: Shelf) -> None:
    text = "day,y\n" + "01.05.2024,1\n24.12.2024,9\n" * 10
    spec = shelf.spec(
        {"id": shelf.put(text), "target": "y", "features": {"day": "categorical"}},
        split=ALL_TRAIN,
        epochs=1,
    )
    model, _ = shelf.model(spec)
    assert encoding_of(spec, shelf).categories == {"day": ["2024-05-01", "2024-12-24"]}
    rows = [["24.12.2024"], ["2024-05-01"], ["25.12.2024"], [None]]
    assert model.rows(rows).squeeze(1).tolist() == pytest.approx([1, 0, -1, math.nan], nan_ok=True)


def test_other_data_may_write_dates_in_another_format(shelf: Shelf) -> None:
    spec = shelf.spec(
        {"id": shelf.put(daily("%d.%m.%Y")), "target": "y"}, optimizer=ADAM, epochs=50
    )
    model, _ = shelf.model(spec)
    other = shelf.spec(
        {"id": shelf.put(daily("%b %d, %Y")), "target": "y"}, split=spec.split.model_dump()
    )
    compatibility.check(other.dataset.signature(), model.manifest.signature)
    figures = []
    for one in (spec, other):
        data = datasets.load(one.dataset, one.split, shelf.root, signature=model.manifest.signature)
        figures.append(evaluate(model.network, data.train, model.manifest.signature, LOSSES["mse"]))
    assert figures[0] == figures[1]
    numbers = shelf.spec({"id": shelf.put("when,y\n1,2\n2,3\n"), "target": "y"}, split=ALL_TRAIN)
    with pytest.raises(Invalid, match="has numbers in the feature 'when', but this model takes da"):
        compatibility.check(numbers.dataset.signature(), model.manifest.signature)


def test_a_single_date_decides_nothing(shelf: Shelf) -> None:
    rows = "".join(f"{'2024-05-01' if n % 3 else ''},{n},{n}\n" for n in range(30))
    spec = shelf.spec(
        {"id": shelf.put(f"when,x,y\n{rows}"), "target": "y"},
        model={"kind": "mlp", "hidden": [8]},
        epochs=2,
    )
    data = shelf.load(spec)
    assert [(w.column, w.kind) for w in data.warnings] == [("when", "constant")]
    assert "'when' is 2024-05-01 or missing in every training row" in data.warnings[0].message
    assert encoding_of(spec, shelf).dates["when"].parts == ["days"]
    model, _ = shelf.model(spec)
    found = [model.predict(model.rows([[day, 4]])).lists for day in ("2024-05-01", "1999-01-01")]
    assert found[0] == found[1]


def test_run_with_dates_resumes_exactly(shelf: Shelf, tmp_path: Path) -> None:
    spec = shelf.spec(
        {"id": shelf.put(GAPPY), "target": "y"},
        model={"kind": "mlp", "hidden": [8]},
        epochs=3,
        batch_size=8,
    )
    whole, data = shelf.train(spec)
    run = Run(build(spec, data), data, spec, CPU)
    engine = choose(run)
    engine.steps_per_advance = 1
    for report in loop.fit(run, engine):
        if report is None and run.progress.step == 5:
            checkpoints.save(tmp_path / "run", 1, 5, run.state_dict(), keep=2)
            break
    data = shelf.load(spec)
    resumed = Run(build(spec, data), data, spec, CPU)
    state = checkpoints.load_newest(tmp_path / "run")
    assert state is not None
    resumed.load_state_dict(state)
    for _ in loop.train(resumed):
        pass
    expected: dict[str, Any] = whole.model.state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in resumed.model.state_dict().items())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"target": "when"}, "'when' is a date, which is neither a value nor a class"),
        ({"target": "y", "features": {"when": "boolean"}}, "is date and cannot be used as boolean"),
        ({"target": "y", "features": {"x": "date"}}, "is numeric and cannot be used as date"),
    ],
)
def test_roles_that_dates_cannot_take(shelf: Shelf, request_: dict[str, Any], message: str) -> None:
    dataset = shelf.put("when,x,y\n2024-01-01,1,1\n2024-01-02,2,5\n")
    with pytest.raises(Invalid, match=message):
        shelf.spec({"id": dataset} | request_)
