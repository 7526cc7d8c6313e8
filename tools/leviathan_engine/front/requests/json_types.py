"""The JSON types of request bodies, as pydantic annotations. The OpenAPI document is generated from them.

Types are strict: "5" is not a number and true is not 1. As in JSON Schema, 5.0 is an integer.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

# Marks of bounds that only the loaded model knows; openapi.py replaces them by numbers.
VOCABULARY, CONTEXT = "x-below-vocabulary", "x-at-most-context"


def _unicode(value: str) -> str:
    """Half of a surrogate pair (JSON can hold one) is not text and cannot be tokenised."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as err:
        raise PydanticCustomError(
            "surrogate", "expected Unicode text, got half of a surrogate pair at character {at}", {"at": err.start}
        ) from err
    return value


def _integral(value: Any) -> Any:
    """5.0 as 5; everything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, AfterValidator(_unicode)]
# After the bounds of an integer: `Annotated[int, Field(ge=0), INTEGRAL]`. Before them they would be lost in the schema.
INTEGRAL = BeforeValidator(_integral)
TokenId = Annotated[int, Field(ge=0, json_schema_extra={VOCABULARY: True}), INTEGRAL]


class Body(BaseModel):
    """Base of the models: strict types, no NaN. `extra` fields are kept, for field_rules.py to judge."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())


class Options(Body):
    """An object of options inside a body. Its fields are judged as the body's are (field_rules.py)."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})
