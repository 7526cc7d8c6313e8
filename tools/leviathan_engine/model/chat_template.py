"""Renders the model's chat template as transformers 4.43 does (`apply_chat_template`), without transformers.

The environment is that of template_environment.py, with the special tokens by name, and `tools` and `documents`, which
are none where there are none. Where a template runs: template_process.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from .template_process import Apart, Rendering, open_template

JsonObject = dict[str, Any]
# What a template gets from the caller in any case, so that a request may not set it.
RESERVED = frozenset({"messages", "tools", "add_generation_prompt", "raise_exception", "strftime_now"})
THINKING = ("thinking", "enable_thinking")
REFUSALS = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError)


class TemplateRefusal(Exception):
    """The template cannot render these messages; the text says why."""


@dataclass(frozen=True)
class ChatTemplate:
    """A compiled template. `variables` are the names that it reads, `special` the special tokens by name."""

    template: Rendering
    variables: frozenset[str]
    special: Mapping[str, str]

    def render(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] = (),
        values: Mapping[str, Any] | None = None,
        *,
        generation_prompt: bool = True,
    ) -> str:
        """The text of the talk, with the beginning of the answer where `generation_prompt` asks for it.

        The content of a message with tool calls and no text is None, as OpenAI has it; a template that cannot take
        None gets "". Errors: TemplateRefusal.
        """
        context = {"tools": list(tools) or None, "documents": None} | dict(self.special) | dict(values or {})
        context["add_generation_prompt"] = generation_prompt
        try:
            try:
                return self.template.render(context | {"messages": list(messages)})
            except TypeError:
                texts = [message | {"content": message.get("content") or ""} for message in messages]
                if texts == list(messages):
                    raise
                return self.template.render(context | {"messages": texts})
        except REFUSALS as err:
            raise TemplateRefusal(str(err) or type(err).__name__) from err

    @property
    def known(self) -> bool:
        """Whether it is one of those that are rendered in this process."""
        return not isinstance(self.template, Apart)

    def close(self) -> None:
        """Ends what was started for the template."""
        if isinstance(self.template, Apart):
            self.template.close()

    def thinking_values(self, thinking: bool | None, effort: str | None) -> tuple[JsonObject, list[str]]:
        """The template's values for the wish to think, and which of "thinking" and "reasoning_effort" it cannot take.

        An effort is handed on where the template reads `reasoning_effort`; otherwise "none" and "minimal" switch a
        thinking switch off, and the others on.
        """
        values: JsonObject = {}
        missing: list[str] = []
        if effort is not None:
            if "reasoning_effort" in self.variables:
                values["reasoning_effort"] = effort
            elif self.switches and thinking is None:
                thinking = effort not in ("none", "minimal")
            elif thinking is None:
                missing.append("reasoning_effort")
        if thinking is not None:
            values |= dict.fromkeys(self.switches, thinking)
            if not self.switches:
                missing.append("thinking")
        return values, missing

    @property
    def switches(self) -> tuple[str, ...]:
        """The names under which this template can be told to think or not."""
        return tuple(name for name in THINKING if name in self.variables)


def compile_template(source: str, special: Mapping[str, str]) -> ChatTemplate:
    """Compiles a template, here or in a process of its own. Errors: jinja2.TemplateError."""
    template, variables = open_template(source)
    return ChatTemplate(template, variables, special)
