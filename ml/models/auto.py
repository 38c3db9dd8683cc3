"""The model of a table that a user has no model in mind for."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ml.models.blend import Blend
from ml.models.partners import Constant, LinearFit, Partner
from ml.models.tabm import TabMSpec, rows_only
from ml.signature import Signature
from ml.strict import Strict

PartnerName = Literal["linear"]


class AutoSpec(Strict):
    """A blend of models of a table that are trained together: a linear model and TabM, weighted by
    what each adds on the validation rows. If the linear model alone is as good, it is the model."""

    kind: Literal["auto"] = "auto"
    beside: list[PartnerName] | None = Field(
        default=None,
        max_length=1,
        description="Models beside TabM; by default all that the size of the data allows.",
    )
    tabm: TabMSpec | None = Field(
        default=None, description="The ensemble of networks; by default one that suits the data."
    )

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
        return Blend(output, partners, (self.tabm or TabMSpec()).build(signature))
