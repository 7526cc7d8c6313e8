"""What happens to a field that a request model does not declare. Nothing is ignored silently.

1. A field that cannot change the answer is let through (`LET_THROUGH`).
2. A field that asks for something this server does not do is refused by name, unless its value asks for nothing
   (null, or one of the values in `NEUTRAL`).
3. Any other field is unknown and refused by name. LEVIATHAN_UNKNOWN_FIELDS=ignore lets unknown fields through and
   names them in the response header x-leviathan-ignored.

The names are those of OpenAI, vLLM, SGLang, llama.cpp and OpenRouter. Keys of an object of options are judged as well,
under names such as `stream_options.include_usage`.
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
    """The rules of one request model. `let_through`: names. `neutral`: name → values that ask for nothing."""

    let_through: frozenset[str]
    neutral: Mapping[str, tuple[Any, ...]]

    def check(self, extra: Mapping[str, Any]) -> list[str]:
        """Judges the fields that the model does not declare; returns the names of those that are unknown.

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
        """Both checks of a body's fields; returns the unknown ones that the site ignores. Errors: ApiError 400."""
        unknown = self.check(undeclared(asked))
        if not ignore_unknown:
            self.refuse_unknown(unknown, frozenset(type(asked).model_fields))
        return unknown

    def refuse_unknown(self, unknown: list[str], declared: frozenset[str]) -> None:
        """Errors: ApiError 400 that names the first unknown field and the nearest known one."""
        if not unknown:
            return
        name = unknown[0][:100]
        near = difflib.get_close_matches(name, sorted(declared | self.let_through), 1)
        hint = f": did you mean {near[0]}?" if near else "; /openapi.json lists the fields"
        raise bad(f"{ascii(name)[1:-1]} is not a known field{hint}", name, UNKNOWN)


def undeclared(asked: Body) -> dict[str, Any]:
    """The fields of a body, and of its objects of options, that its model does not declare."""
    out = dict(asked.model_extra or {})
    for name in type(asked).model_fields:
        inner = getattr(asked, name)
        if isinstance(inner, Options):
            out |= {f"{name}.{key}": value for key, value in undeclared(inner).items()}
    return out


def _same(value: Any, harmless: Any) -> bool:
    """Equal, where 1 and 1.0 are the same and 1 and true are not."""
    return isinstance(value, bool) == isinstance(harmless, bool) and bool(value == harmless)
