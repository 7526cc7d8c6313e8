"""Renders the model's chat template as transformers 4.43 does (`apply_chat_template`), without transformers.

Jinja's immutable sandbox, blocks trimmed, loop controls, `raise_exception`, `strftime_now`, `tojson` with its keywords,
the `generation` block, the special tokens by name, and `tools` and `documents`, which are none where there are none.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

JsonObject = dict[str, Any]
# What a template gets from the caller in any case, so that a request may not set it.
RESERVED = frozenset({"messages", "tools", "add_generation_prompt", "raise_exception", "strftime_now"})
THINKING = ("thinking", "enable_thinking")
REFUSALS = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError)


class TemplateRefusal(Exception):
    """The template cannot render these messages; the text says why."""


class GenerationBlock(Extension):
    """`{% generation %}…{% endgeneration %}`, with which training marks answers: its contents, as they are."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes of the contents."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class ChatTemplate:
    """A compiled template. `variables` are the names that it reads, `special` the special tokens by name."""

    template: Template
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
    """Compiles a template. Errors: jinja2.TemplateError."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.globals |= {"raise_exception": _raise, "strftime_now": time.strftime}
    environment.filters["tojson"] = _tojson
    variables = meta.find_undeclared_variables(environment.parse(source))
    return ChatTemplate(environment.from_string(source), frozenset(variables), special)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
