"""The JSON types of request bodies, as pydantic annotations. The OpenAPI document is generated from them.

Types are strict: "5" is not a number and true is not 1. As in JSON Schema, 5.0 is an integer.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

# Placeholders for limits that depend on the loaded model; schema.py replaces them by numbers.
VOCABULARY, CONTEXT = "x-below-vocabulary", "x-at-most-context"


def _unicode(value: str) -> str:
    """Refuses half of a surrogate pair, which JSON allows, but which cannot be tokenised."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as err:
        raise PydanticCustomError(
            "surrogate", "expected Unicode text, got half of a surrogate pair at character {at}", {"at": err.start}
        ) from err
    return value


def _integral(value: Any) -> Any:
    """Returns 5 for 5.0; everything else unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, AfterValidator(_unicode)]
# Use it after an integer's bounds: `Annotated[int, Field(ge=0), INTEGRAL]`. Before them, the schema would lose them.
INTEGRAL = BeforeValidator(_integral)
TokenId = Annotated[int, Field(ge=0, json_schema_extra={VOCABULARY: True}), INTEGRAL]


class Body(BaseModel):
    """Base class of the models: strict types, no NaN. Keeps `extra` fields, for field_rules.py."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())


class Options(Body):
    """An object of options in a body. Its fields are checked like the body's (field_rules.py)."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})
