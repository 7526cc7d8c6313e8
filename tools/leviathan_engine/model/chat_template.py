"""Renders the model's chat template as transformers 4.43 does (`apply_chat_template`), without transformers.

The template's variables are those of template_environment.py, the special tokens by name, and `tools` and `documents`,
which may be none. template_process.py decides in which process a template runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from .template_process import Apart, Rendering, open_template

JsonObject = dict[str, Any]
# Variables that the caller always sets, so a request may not set them.
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
        """Renders the text of a chat, with the beginning of the answer if `generation_prompt` is true.

        The content of a message with tool calls and no text is None, as in OpenAI's API; a template that does not
        support None gets "". Errors: TemplateRefusal.
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
        """Whether it is a known template, which is rendered in this process."""
        return not isinstance(self.template, Apart)

    def close(self) -> None:
        """Ends the process of the template, if there is one."""
        if isinstance(self.template, Apart):
            self.template.close()

    def thinking_values(self, thinking: bool | None, effort: str | None) -> tuple[JsonObject, list[str]]:
        """Returns template values for thinking, and which of "thinking" and "reasoning_effort" it does not support.

        A template that reads `reasoning_effort` gets the effort. In others with a thinking switch, "none" and
        "minimal" turn it off, and other efforts turn it on.
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
        """The names of the variables that switch thinking on and off in this template."""
        return tuple(name for name in THINKING if name in self.variables)


def compile_template(source: str, special: Mapping[str, str]) -> ChatTemplate:
    """Compiles a template, in this process or in a separate one. Errors: jinja2.TemplateError."""
    template, variables = open_template(source)
    return ChatTemplate(template, variables, special)
