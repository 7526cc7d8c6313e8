"""Decides what happens to a field that a request model does not declare. Nothing is ignored silently.

1. A field that cannot change the answer is accepted (`let_through`).
2. A field of an unsupported feature is refused, unless its value has no effect (null, or one of the values in
   `neutral`).
3. Any other field is unknown and refused. LEVIATHAN_UNKNOWN_FIELDS=ignore accepts unknown fields, and lists them in the
   response header x-leviathan-ignored.

The names are those of OpenAI, vLLM, SGLang, llama.cpp and OpenRouter. Keys of option objects are checked too, under
names such as `stream_options.include_usage`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..api_error import bad
from .json_types import Body, Options

UNSUPPORTED, UNKNOWN = "unsupported_parameter", "unknown_parameter"


@dataclass(frozen=True)
class FieldRules:
    """The rules of one request model. `let_through`: accepted names. `neutral`: name → values without effect."""

    let_through: frozenset[str]
    neutral: Mapping[str, tuple[Any, ...]]

    def check(self, extra: Mapping[str, Any]) -> list[str]:
        """Checks the fields that the model does not declare; returns the names of unknown ones.

        Errors: ApiError 400 for a field of rule 2.
        """
        unknown = []
        for name, value in extra.items():
            if value is None and (name in self.neutral or name in self.let_through):
                continue
            if name in self.neutral:
                if not any(_same(value, harmless) for harmless in self.neutral[name]):
                    raise bad(f"{name} is not supported by this server: leave it out", name, UNSUPPORTED)
            elif name not in self.let_through:
                unknown.append(name)
        return unknown

    def judge(self, asked: Body, *, ignore_unknown: bool) -> list[str]:
        """Checks all fields of a body; returns unknown ones that are to be ignored. Errors: ApiError 400."""
        unknown = self.check(undeclared(asked))
        if not ignore_unknown:
            self.refuse_unknown(unknown, frozenset(type(asked).model_fields))
        return unknown

    def refuse_unknown(self, unknown: list[str], declared: frozenset[str]) -> None:
        """Refuses unknown fields. Errors: ApiError 400 with the first unknown field and the most similar known one."""
        if not unknown:
            return
        name = unknown[0][:100]
        near = difflib.get_close_matches(name, sorted(declared | self.let_through), 1)
        hint = f": did you mean {near[0]}?" if near else "; /openapi.json lists the fields"
        raise bad(f"{ascii(name)[1:-1]} is not a known field{hint}", name, UNKNOWN)


def undeclared(asked: Body) -> dict[str, Any]:
    """Returns the fields of a body, and of its option objects, that its model does not declare."""
    out = dict(asked.model_extra or {})
    for name in type(asked).model_fields:
        inner = getattr(asked, name)
        if isinstance(inner, Options):
            out |= {f"{name}.{key}": value for key, value in undeclared(inner).items()}
    return out


def _same(value: Any, harmless: Any) -> bool:
    """Whether two values are equal; 1 equals 1.0, but not true."""
    return isinstance(value, bool) == isinstance(harmless, bool) and bool(value == harmless)
