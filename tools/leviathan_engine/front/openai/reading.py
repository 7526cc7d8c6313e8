"""Checks every body of OpenAI's API: its types, its model, its fields."""

from collections.abc import Mapping
from typing import Any, TypeVar

from ..api_error import bad
from ..requests.field_rules import FieldRules
from ..requests.validation import json_type, validated
from ..served import Served
from .common_body import CommonBody

B = TypeVar("B", bound=CommonBody)


def checked(kind: type[B], body: Mapping[str, Any], rules: FieldRules, served: Served) -> tuple[B, tuple[str, ...]]:
    """Returns the body as a `kind`, and the names of unknown fields that this server is configured to ignore.

    Errors: ApiError 400 for a wrong or unknown field, 404 for another model.
    """
    if not isinstance(body, dict):
        raise bad(f"the request body: expected a JSON object, got {json_type(body)}")
    asked = validated(kind, body)
    served.resolve(asked.model)
    return asked, tuple(rules.judge(asked, ignore_unknown=served.ignore_unknown))
