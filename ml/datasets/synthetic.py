"""Data made from formulas, such as `y = 3*x + 2`, and noise."""

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import (
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_serializer,
    model_validator,
)
from torch import Generator, Tensor, nn

from ml.datasets import masked
from ml.datasets.splits import (
    BY_CHANCE,
    Categories,
    Fitted,
    RowCounts,
    Rows,
    SplitSpec,
    Table,
)
from ml.datasets.targets import MAX_TARGETS
from ml.errors import Invalid, Loc, located_at
from ml.expressions.formula import Expression, check_name
from ml.ingest.warning import DataWarning
from ml.preprocessing import Standardize, moments
from ml.signature import Classes, Features, Output, Signature, Value, regression
from ml.strict import Strict, as_validation_error, at_most

MAX_SIZE = 10_000_000
MAX_FEATURES = 1_000
MAX_VALUES = 100_000_000
TRUTHS = ("false", "true")
"""Classes of a target that is a comparison."""

Bound = Annotated[float, Field(ge=-1e30, le=1e30)]
Pair = Annotated[list[Bound], Field(min_length=2, max_length=2)]
TargetName = Annotated[str, Field(min_length=1, max_length=1000)]
ByName = Annotated[
    dict[TargetName, str],
    at_most(MAX_TARGETS, "targets"),
    Field(min_length=1, max_length=MAX_TARGETS),
]

_BY_NAME: TypeAdapter[dict[str, str]] = TypeAdapter(ByName, config=ConfigDict(strict=True))


def _read_formulas(value: object, _: ValidatorFunctionWrapHandler) -> object:
    # Otherwise each error would be reported for both members of the union.
    if isinstance(value, dict):
        return _BY_NAME.validate_python(value)
    if not isinstance(value, str):
        raise ValueError("must be a string, a formula, or an object of formulas by their names")
    return value


Formulas = Annotated[str | ByName, WrapValidator(_read_formulas)]


class Distribution(Strict):
    """Distribution of a feature's values: exactly one of the three."""

    linspace: Pair | None = Field(default=None, description="[first, last], evenly spaced.")
    uniform: Pair | None = Field(default=None, description="[low, high], drawn at random.")
    normal: Pair | None = Field(default=None, description="[mean, standard deviation].")

    @model_validator(mode="after")
    def _exactly_one(self) -> "Distribution":
        if len(self._given()) != 1:
            raise ValueError("give exactly one of linspace, uniform, normal")
        if self.uniform and self.uniform[0] >= self.uniform[1]:
            raise ValueError("uniform needs [low, high] with low < high")
        if self.normal and self.normal[1] < 0:
            raise ValueError(
                "normal needs [mean, standard deviation] with a deviation of 0 or more"
            )
        return self

    @model_serializer
    def _given(self) -> dict[str, list[float]]:
        pairs = {"linspace": self.linspace, "uniform": self.uniform, "normal": self.normal}
        return {name: pair for name, pair in pairs.items() if pair is not None}

    def draw(self, size: int, random: Generator) -> Tensor:
        """Return `size` values, float64 `(size,)`."""
        if self.linspace:
            first, last = self.linspace
            return torch.linspace(first, last, size, dtype=torch.float64)
        if self.uniform:
            low, high = self.uniform
            return low + (high - low) * torch.rand(size, generator=random, dtype=torch.float64)
        mean, deviation = self.normal or (0.0, 1.0)
        return mean + deviation * torch.randn(size, generator=random, dtype=torch.float64)


class SyntheticSpec(Strict):
    """Features drawn from distributions, and a target, or several, computed from them by
    formulas."""

    kind: Literal["synthetic"] = "synthetic"
    features: Annotated[dict[str, Distribution], at_most(MAX_FEATURES, "features")] = Field(
        min_length=1, max_length=MAX_FEATURES
    )
    target: Formulas = Field(
        description="Formula of the features, with + - * / ** % //, comparisons and the usual "
        "functions. A comparison makes two classes, false and true. Or formulas by the names of "
        "several targets, which are numbers.",
        examples=["3*x + 2", "x**2 + y**2 < 1", {"double": "2*x", "square": "x**2"}],
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        le=1e30,
        description="Standard deviation of the noise on each target; 0 for classes.",
    )
    size: int = Field(default=1000, ge=1, le=MAX_SIZE, description="Number of rows.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of the features and the noise.")
    standardize: bool = Field(
        default=False,
        description="Whether to scale each feature to mean 0 and standard deviation 1.",
    )

    @field_validator("features")
    @classmethod
    def _features_have_usable_names(cls, features: dict[str, Distribution]) -> object:
        for name in features:
            check_name(name)
        return features

    @field_validator("target")
    @classmethod
    def _targets_are_formulas(
        cls, target: str | dict[str, str], info: ValidationInfo
    ) -> str | dict[str, str]:
        if "features" not in info.data:
            return target
        if isinstance(target, str):
            Expression.parse(target, info.data["features"])
            return target
        for name, formula in target.items():
            try:
                with located_at(name):
                    _check_named(name, formula, info.data["features"])
            except Invalid as error:
                raise as_validation_error(error) from None
        return target

    @model_validator(mode="after")
    def _fits(self) -> "SyntheticSpec":
        if self.size * (len(self.features) + len(self._formulas) - 1) > MAX_VALUES:
            counted = "features" if len(self._formulas) == 1 else "features and other targets"
            raise ValueError(
                f"size times the number of {counted} is over the limit of {MAX_VALUES:,} values; "
                "choose a smaller size"
            )
        if self.noise and self._is_condition:
            raise ValueError(
                f"noise is added to a number, and the target {self.target!r} is true or false; "
                "leave noise out"
            )
        return self

    def signature(self) -> Signature:
        """Return the signature of a model of this data: of two classes if its formula is a
        comparison."""
        inputs = Features(names=list(self.features), double=self.standardize)
        return Signature(inputs=inputs, output=self._output())

    def row_counts(self) -> RowCounts:
        """Return the number of rows."""
        return RowCounts(self.size, has_test_split=False)

    def load(self, root: Path, split: SplitSpec = BY_CHANCE) -> Table:
        """Draw the rows; `root` and `split` are unused.

        Raises:
            Invalid: a formula's value is not finite for some row, or NaN is compared.
        """
        random = Generator().manual_seed(self.seed)
        columns = {name: d.draw(self.size, random) for name, d in self.features.items()}
        # Numbers far from 0 would be equal in float32; standardised, they are near it.
        dtype = torch.float64 if self.standardize else torch.float32
        inputs = torch.stack(list(columns.values()), dim=1).to(dtype)
        targets = []
        for place, formula in self._formulas:
            with located_at("dataset", "target", *place):
                target = formula.evaluate(columns).expand(self.size)
                if self._is_condition:
                    return Table(Rows(inputs, target.long()))
                if self.noise:
                    noise = torch.randn(self.size, generator=random, dtype=torch.float64)
                    target = target + self.noise * noise
                targets.append(target.to(torch.float32))
                self._refuse_infinite(formula, inputs, targets[-1])
        return Table(Rows(inputs, torch.stack(targets, dim=1)))

    def fit(self, train: Rows, categories: Categories) -> Fitted:
        """Return the layer that standardises the features, if requested, and masks those that do
        not vary in `train`."""
        mean, std = moments(train.inputs)
        constant = std.isinf()
        only = {
            name: f"{mean[index].item():g}"
            for index, name in enumerate(self.features)
            if constant[index]
        }
        layer: nn.Module = nn.Identity()
        if self.standardize:
            layer = Standardize(mean, std, dtype=torch.float64)
        elif only:
            layer = Standardize.mask(constant)
        return Fitted(self.signature(), layer, [*masked.warnings(only), *self._one_class(train)])

    def encode_categories(
        self, inputs: Tensor, categories: Categories, signature: Signature
    ) -> Tensor:
        """Return the inputs unchanged: they have no categories."""
        return inputs

    @cached_property
    def _formulas(self) -> list[tuple[Loc, Expression]]:
        """The formula of each target, after its place in `target`."""
        if isinstance(self.target, str):
            return [((), Expression.parse(self.target, self.features))]
        formulas = self.target.items()
        return [((name,), Expression.parse(text, self.features)) for name, text in formulas]

    @property
    def _is_condition(self) -> bool:
        return self._formulas[0][1].is_condition

    def _output(self) -> Output:
        if self._is_condition:
            return Classes(names=list(TRUTHS))
        names = ["y"] if isinstance(self.target, str) else self.target
        return regression([Value(name=name) for name in names])

    def _one_class(self, train: Rows) -> list[DataWarning]:
        """Return a warning if the target is a class that does not vary."""
        if not self._is_condition:
            return []
        low, high = int(train.targets.min()), int(train.targets.max())
        if low < high:
            return []
        message = (
            f"the target {self.target!r} is {TRUTHS[low]} in every training row: there "
            "is nothing to tell apart"
        )
        return [DataWarning(column=None, kind="constant", message=message)]

    def _refuse_infinite(self, formula: Expression, inputs: Tensor, targets: Tensor) -> None:
        bad = (~torch.isfinite(targets)).nonzero()
        if len(bad):
            row = int(bad[0])
            at = ", ".join(
                f"{name}={value:g}"
                for name, value in zip(self.features, inputs[row].tolist(), strict=True)
            )
            raise Invalid(
                f"the formula {formula.source!r} is {targets[row].item()} at {at} "
                f"(row {row}; {len(bad)} such rows of {self.size})"
            )


def _check_named(name: str, text: str, features: Collection[str]) -> None:
    """Check the formula of a target that has a name.

    Raises:
        Invalid: it is not a formula of the features, or is true or false; or a feature has its
            name.
    """
    if name in features:
        raise Invalid("has the name of a feature; choose another")
    if Expression.parse(text, features).is_condition:
        raise Invalid(
            f"{text!r} is true or false, and a target with a name is a number; for two classes, "
            "give the comparison alone as the target"
        )
