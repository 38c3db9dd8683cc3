"""Parameters of an upload: those of its query, and the fields of its form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from ml.errors import Invalid
from ml.ingest.options import Options
from ml.strict import parse
from service.datasets.schemas import UploadQuery
from service.errors import Unprocessable

WHOLE = ("target",)
"""Lists that the query and the form do not share."""


@dataclass(frozen=True)
class UploadParameters:
    """The parameters of an upload, and where in the request each is."""

    values: UploadQuery
    in_form: frozenset[str] = frozenset()
    """Names of the parameters that are fields of the form."""

    def with_form(self, fields: Sequence[tuple[str, str]]) -> "UploadParameters":
        """Return the parameters with the fields of a form, by name and value. A list that is not
        `WHOLE` has the values of the query and of the form.

        Raises:
            Unprocessable: a field is unknown or invalid, or contradicts the query.
        """
        if not fields:
            return self
        document = self.values.model_dump(exclude_defaults=True)
        both = UploadParameters(self.values, frozenset(name for name, _ in fields))
        for name in both.in_form:
            values = [value for key, value in fields if key == name]
            given = values if _is_list(name) else values[-1]
            if _is_list(name) and name not in WHOLE:
                document[name] = [*(document.get(name) or []), *values]
            elif document.get(name, given) != given:
                message = (
                    f"is {_shown(given)} in the form, but {_shown(document[name])} in the query"
                )
                raise both.refusal(Invalid(message, (name,)))
            else:
                document[name] = given
        try:
            return UploadParameters(parse(UploadQuery, document), both.in_form)
        except Invalid as error:
            raise both.refusal(error) from None

    def options(self) -> Options:
        """Return the options for reading the file.

        Raises:
            Unprocessable: an option is invalid.
        """
        try:
            return self.values.options()
        except Invalid as error:
            raise self.refusal(error) from None

    def refusal(self, error: Invalid) -> Unprocessable:
        """Return the refusal of a parameter, which is the first step of the error's path."""
        return Unprocessable.at(error, "body" if error.loc[:1] in self._form_places else "query")

    @property
    def _form_places(self) -> set[tuple[str]]:
        return {(name,) for name in self.in_form}


def _shown(value: object) -> str:
    return ", ".join(map(repr, value)) if isinstance(value, list) else repr(value)


def _is_list(name: str) -> bool:
    """Whether a parameter may be given more than once."""
    field = UploadQuery.model_fields.get(name)
    return field is not None and _has_list(field.annotation)


def _has_list(kind: Any) -> bool:
    return get_origin(kind) is list or any(_has_list(one) for one in get_args(kind))
