"""The model of a table that a user has no model in mind for."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from ml.models.blend import Blend
from ml.models.partners import Constant, LinearFit, Partner, Trees
from ml.models.tabm import TabMSpec, rows_only
from ml.signature import Signature
from ml.strict import Strict

PartnerName = Literal["linear", "trees"]


class AutoSpec(Strict):
    """A blend of models of rows that are trained together, weighted by what each adds: a linear
    model, boosted trees and TabM. If the linear model alone is as good, it is the whole model."""

    kind: Literal["auto"] = "auto"
    beside: list[PartnerName] | None = Field(
        default=None,
        max_length=2,
        description="Models beside TabM; by default both, unless the data is too large, or has too "
        "many classes, for one of them, or too few rows for trees.",
    )
    tabm: TabMSpec | None = Field(
        default=None, description="The ensemble of networks; by default one that suits the data."
    )

    @field_validator("beside")
    @classmethod
    def _each_once(cls, beside: list[PartnerName] | None) -> list[PartnerName] | None:
        if beside and len({*beside}) < len(beside):
            raise ValueError(f"names {beside[0]} twice; name each model once")
        return beside

    @classmethod
    def stored(cls, document: Mapping[str, Any]) -> "AutoSpec":
        """Return the spec in a trained model's manifest without validating it again."""
        tabm = TabMSpec.model_construct(**document["tabm"])
        return cls.model_construct(**{**document, "tabm": tabm})

    def build(self, signature: Signature) -> Blend:
        """Return the network, from encoded inputs `(batch, width)` to `(batch, size)`, in training
        to `(batch, members of TabM, size)`.

        Raises:
            Invalid: the inputs are images.
        """
        output, width = signature.output, rows_only(signature.inputs).width
        partners: dict[str, Partner] = {"constant": Constant(width, output)}
        if "linear" in (self.beside or ()):
            partners["linear"] = LinearFit(width, output)
        if "trees" in (self.beside or ()):
            partners["trees"] = Trees(output)
        return Blend(output, partners, (self.tabm or TabMSpec()).build(signature))
