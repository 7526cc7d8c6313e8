"""A request's demands on the text of its answer, for the process that compiles a grammar, and when they apply."""

import json
from dataclasses import dataclass
from typing import Any

from leviathan_engine.model.chat_prompt import Prompts
from leviathan_engine.model.rendered_chat import RenderedChat
from leviathan_engine.model.tool_format import CALL_BEGIN, CALLS_BEGIN, ToolFormat

from ..api_error import bad
from ..requests.field_rules import UNSUPPORTED
from .request import ChatPrompt, GenerationRequest, JsonObject, Prompt

END_OF_THOUGHT = "</think>\n\n"


@dataclass(frozen=True)
class Demand:
    """A demand as a line of JSON for model/grammar/compose.py, and the field `where` of the request's body.

    `options` say when the grammar applies, with the names of worker/sampling_options.py.
    """

    line: bytes
    where: str
    options: JsonObject


def demand_of(request: GenerationRequest, prompt: Prompt, talk: RenderedChat | None, prompts: Prompts) -> Demand | None:
    """Returns the demand of `request` on the answer to `prompt`, None if there is none. Errors: ApiError 400."""
    calls = _calls(request, prompt, talk, prompts)
    form = None if calls is not None and calls["opened"] else request.form
    if calls is None and form is None:
        return None
    options = {} if talk is None or talk.closed or talk.opened else thought_options(talk, prompts)
    if calls is not None and calls["lazy"]:
        options |= {"grammar_after": prompts.token_id(CALLS_BEGIN), "grammar_bans": [prompts.token_id(CALL_BEGIN)]}
    line = json.dumps({"answer": vars(form) if form else None, "calls": calls}).encode("ascii") + b"\n"
    return Demand(line, form.where if form else "tools", options)


def thought_options(talk: RenderedChat | None, prompts: Prompts) -> JsonObject:
    """Returns the tags of thoughts, and whether the prompt ends in one; empty for a model without thoughts."""
    close = prompts.token_id("</think>")
    if talk is None or close is None:
        return {}
    return {
        "think_end": prompts.plain_ids(END_OF_THOUGHT, 16),
        "think_open": prompts.token_id("<think>"),
        "think_close": close,
        "thinking": talk.thinking,
    }


def _calls(
    request: GenerationRequest, prompt: Prompt, talk: RenderedChat | None, prompts: Prompts
) -> JsonObject | None:
    """Returns the demands on tool calls, None if there are none."""
    if talk is None or not isinstance(prompt, ChatPrompt) or not prompt.tools or prompts.tools is None:
        return None
    named = prompt.forced_call if talk.opened else None
    tools = [
        _tool(index, tool["function"])
        for index, tool in enumerate(prompt.tools)
        if not named or tool["function"]["name"] == named
    ]
    strict = next((tool for tool in tools if tool["strict"]), None)
    if not talk.opened and request.form is None and strict is None:
        return None
    lazy = not talk.opened and request.form is None
    if lazy and strict and (prompts.token_id(CALLS_BEGIN) is None or prompts.token_id(CALL_BEGIN) is None):
        raise bad(
            "strict is not supported by this model, because its vocabulary has no token that begins a tool call:"
            " leave it out",
            "tools",
            UNSUPPORTED,
        )
    return {
        "fenced": prompts.tools is ToolFormat.FENCED,
        "tools": tools,
        "many": request.parallel_calls,
        "opened": bool(talk.opened),
        "named": bool(named),
        "lazy": lazy,
    }


def _tool(index: int, function: JsonObject) -> dict[str, Any]:
    return {
        "name": function["name"],
        "parameters": function.get("parameters"),
        "strict": bool(function.get("strict")),
        "where": f"tools[{index}].function.parameters",
    }
