"""Data made from a formula, such as `y = 3*x + 2`, and noise."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator, model_serializer, model_validator
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
from ml.errors import Invalid, located_at
from ml.expressions.formula import Expression, check_name
from ml.ingest.warning import DataWarning
from ml.preprocessing import Standardize, moments
from ml.signature import Classes, Features, Signature, Value
from ml.strict import Strict, at_most

MAX_SIZE = 10_000_000
MAX_FEATURES = 1_000
MAX_VALUES = 100_000_000
TRUTHS = ("false", "true")
"""Classes of a target that is a comparison."""

Bound = Annotated[float, Field(ge=-1e30, le=1e30)]
Pair = Annotated[list[Bound], Field(min_length=2, max_length=2)]


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
    """Features drawn from distributions, and a target computed from them by a formula."""

    kind: Literal["synthetic"] = "synthetic"
    features: Annotated[dict[str, Distribution], at_most(MAX_FEATURES, "features")] = Field(
        min_length=1, max_length=MAX_FEATURES
    )
    target: str = Field(
        description="Formula of the features, with + - * / ** % //, comparisons and the usual "
        "functions. A comparison makes two classes, false and true.",
        examples=["3*x + 2", "x**2 + y**2 < 1"],
    )
    noise: float = Field(
        default=0.0,
        ge=0,
        le=1e30,
        description="Standard deviation of the noise on the target; 0 for classes.",
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
    def _target_is_a_formula(cls, target: str, info: ValidationInfo) -> str:
        if "features" in info.data:
            Expression.parse(target, info.data["features"])
        return target

    @model_validator(mode="after")
    def _fits(self) -> "SyntheticSpec":
        if self.size * len(self.features) > MAX_VALUES:
            raise ValueError(
                f"size times the number of features is over the limit of {MAX_VALUES:,} values; "
                "choose a smaller size"
            )
        if self.noise and self._formula.is_condition:
            raise ValueError(
                f"noise is added to a number, and the target {self.target!r} is true or false; "
                "leave noise out"
            )
        return self

    def signature(self) -> Signature:
        """Return the signature of a model of this data: of two classes if its formula is a
        comparison."""
        is_condition = self._formula.is_condition
        output = Classes(names=list(TRUTHS)) if is_condition else Value(name="y")
        inputs = Features(names=list(self.features), double=self.standardize)
        return Signature(inputs=inputs, output=output)

    def row_counts(self) -> RowCounts:
        """Return the number of rows."""
        return RowCounts(self.size, has_test_split=False)

    def load(self, root: Path, split: SplitSpec = BY_CHANCE) -> Table:
        """Draw the rows; `root` and `split` are unused.

        Raises:
            Invalid: the formula's value is not finite for some row, or NaN is compared.
        """
        random = Generator().manual_seed(self.seed)
        columns = {name: d.draw(self.size, random) for name, d in self.features.items()}
        with located_at("dataset", "target"):
            target = self._formula.evaluate(columns).expand(self.size)
        # Numbers far from 0 would be equal in float32; standardised, they are near it.
        dtype = torch.float64 if self.standardize else torch.float32
        inputs = torch.stack(list(columns.values()), dim=1).to(dtype)
        if self._formula.is_condition:
            return Table(Rows(inputs, target.long()))
        if self.noise:
            noise = torch.randn(self.size, generator=random, dtype=torch.float64)
            target = target + self.noise * noise
        targets = target.to(torch.float32).unsqueeze(1)
        self._refuse_infinite(inputs, targets)
        return Table(Rows(inputs, targets))

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
    def _formula(self) -> Expression:
        return Expression.parse(self.target, self.features)

    def _one_class(self, train: Rows) -> list[DataWarning]:
        """Return a warning if the target is a class that does not vary."""
        if not self._formula.is_condition:
            return []
        low, high = int(train.targets.min()), int(train.targets.max())
        if low < high:
            return []
        message = (
            f"the target {self.target!r} is {TRUTHS[low]} in every training row: there "
            "is nothing to tell apart"
        )
        return [DataWarning(column=None, kind="constant", message=message)]

    def _refuse_infinite(self, inputs: Tensor, targets: Tensor) -> None:
        bad = (~torch.isfinite(targets).squeeze(1)).nonzero()
        if len(bad):
            row = int(bad[0])
            at = ", ".join(
                f"{name}={value:g}"
                for name, value in zip(self.features, inputs[row].tolist(), strict=True)
            )
            raise Invalid(
                f"the formula {self.target!r} is {targets[row].item()} at {at} "
                f"(row {row}; {len(bad)} such rows of {self.size})",
                ("dataset", "target"),
            )
