"""Renders a chat into the prompt's text: template values, tools, a forced call, and whether it ends in a thought."""

from .chat_template import RESERVED, ChatTemplate, TemplateRefusal
from .rendered_chat import ChatPrompt, RenderedChat
from .tool_format import ToolFormat, calls_apart, keeps_calls, with_tools

THINK, END_THINK = "<think>", "</think>"


class UnknownTemplateValue(Exception):
    """A value in chat_template_kwargs that the template does not read; the text names it."""


def render_chat(template: ChatTemplate, form: ToolFormat | None, talk: ChatPrompt) -> RenderedChat:
    """Renders the prompt of `talk`. `form` is the format in which this template renders tool calls.

    Errors: TemplateRefusal; UnknownTemplateValue for `template_values` without effect.
    """
    values, missing = _values(template, talk)
    if talk.tools and form is None:
        raise TemplateRefusal("it has no known format for tool calls, so tools cannot be used with this model")
    messages, tools = list(talk.messages), talk.tools
    if tools and form and "tools" not in template.variables:
        messages, tools = with_tools(messages, tools, form), ()

    def render() -> str:
        return template.render(messages, tools, values, generation_prompt=talk.answers and not talk.continues)

    text = render()
    if not keeps_calls(text, messages):
        messages = calls_apart(messages)
        text = render()
        if not keeps_calls(text, messages):
            raise TemplateRefusal("it leaves out the tool calls of this conversation")
    if talk.continues:
        last = str(messages[-1].get("content") or "").strip()
        return RenderedChat(text[: text.rindex(last) + len(last)] if last in text else text, missing=tuple(missing))
    stem = text.rstrip()
    thinking, tag, opened = talk.answers and stem.endswith(THINK), "", ""
    if thinking:
        tag = text[len(stem) - len(THINK) :]
    if form and talk.forced_call is not None:
        if thinking:
            text, thinking, tag = stem + END_THINK, False, ""
        opened = form.opening(talk.forced_call)
    return RenderedChat(text + opened, thinking, tag, opened, tuple(missing), closed=stem.endswith(END_THINK))


def _values(template: ChatTemplate, talk: ChatPrompt) -> tuple[dict[str, object], list[str]]:
    values, missing = template.thinking_values(talk.thinking, talk.effort)
    for name, value in talk.template_values.items():
        if name in ("thinking", "enable_thinking") and isinstance(value, bool) and template.switches:
            values |= dict.fromkeys(template.switches, value)
        elif name not in template.variables or name in RESERVED or name in template.special:
            known = sorted(template.variables - RESERVED - template.special.keys() - {"messages"})
            raise UnknownTemplateValue(
                f"{name} is not a value that the model's chat template reads: {', '.join(known) or 'it reads none'}"
            )
        else:
            values[name] = value
    return values, missing
