"""Names: of models and jobs, data sets, and of what else is named by its user."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NAME_IN_WORDS = "1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first"


def matching(pattern: str, wanted: str) -> Callable[[str], str]:
    """Return a validator for `pattern` whose error describes it as `wanted`."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {wanted}, not {text[:80]!r}")
        return text

    return check


Name = Annotated[
    str,
    AfterValidator(matching(NAME, NAME_IN_WORDS)),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"}),
]
