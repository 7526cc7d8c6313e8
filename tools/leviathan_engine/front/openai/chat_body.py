"""The body of /v1/chat/completions."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from leviathan_engine.model.rendered_chat import ChatPrompt

from ..api_error import bad
from ..generation.request import GenerationRequest, Reasoning
from ..requests.json_types import INTEGRAL, Options
from ..served import Served
from .answers import OpenAiWriter
from .common_body import CommonBody, Logprobs
from .messages import Messages
from .reading import checked
from .rules import CHAT
from .tools import COMBINATION, Tools, ToolUse, tool_use

ThinkBudget = Annotated[int, Field(ge=-1), INTEGRAL]
EFFORTS = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
REASONING_FORMATS = Literal["none", "auto", "deepseek", "deepseek-legacy"]


class Thinking(Options):
    """DeepSeek's switch for thinking."""

    type: Literal["enabled", "disabled", "auto", "adaptive"]
    budget_tokens: ThinkBudget | None = Field(None, description="as thinking_budget")


class ReasoningOptions(Options):
    """OpenRouter's options for thinking."""

    max_tokens: ThinkBudget | None = Field(None, description="as thinking_budget")

    effort: EFFORTS | None = None
    enabled: bool | None = None
    exclude: bool | None = None


def _thinking_kind(value: Any) -> str | None:
    return "<switch>" if isinstance(value, bool) else "<object>" if isinstance(value, dict | Thinking) else None


AnyThinking = Annotated[
    Annotated[bool, Tag("<switch>")] | Annotated[Thinking, Tag("<object>")],
    Discriminator(
        _thinking_kind,
        custom_error_type="thinking",
        custom_error_message="expected true, false or an object with a type",
    ),
]


class ChatBody(CommonBody):
    """A chat: messages, and how to answer them."""

    messages: Messages
    logprobs: bool | None = Field(None, description="log probabilities of the answer's tokens")
    top_logprobs: Logprobs | None = Field(None, description="with logprobs: number of most likely tokens to return")
    thinking_budget: ThinkBudget | None = Field(None, description="maximum number of tokens of a thought; -1: no limit")
    thinking_budget_tokens: ThinkBudget | None = Field(None, description="as thinking_budget")
    tools: Tools | None = None
    tool_choice: ToolUse | None = None
    parallel_tool_calls: bool | None = Field(None, description="false: the answer ends after its first tool call")
    chat_template_kwargs: dict[str, Any] | None = Field(None, description="values for the model's chat template")
    documents: list[Any] | None = Field(None, description="for chat templates that read documents")
    thinking: AnyThinking | None = Field(None, description="whether to think, if the chat template has such a switch")
    enable_thinking: bool | None = Field(None, description="as thinking")
    reasoning_effort: EFFORTS | None = Field(
        None,
        description="for chat templates that read it; with others, none and minimal switch thinking off if they can",
    )
    reasoning: ReasoningOptions | None = None
    reasoning_format: REASONING_FORMATS | None = Field(
        None, description="none: thoughts stay in the content; otherwise they are reasoning_content"
    )
    separate_reasoning: bool | None = Field(None, description="false: thoughts stay in the content")
    include_reasoning: bool | None = Field(None, description="false: thoughts are left out of the answer")
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = Field(None, description="the last message is the beginning of the answer")

    def named_logprobs(self) -> int | None:
        """Returns the number of most likely tokens to report with each token; None: no log probabilities."""
        if self.top_logprobs and not self.logprobs:
            raise bad("top_logprobs needs logprobs: true", "top_logprobs", COMBINATION)
        return (self.top_logprobs or 0) if self.logprobs else None

    def think_budget(self) -> int | None:
        """Returns the maximum number of tokens of a thought; None: no limit."""
        inner = self.thinking.budget_tokens if isinstance(self.thinking, Thinking) else None
        options = self.reasoning.max_tokens if self.reasoning else None
        budgets = (self.thinking_budget, self.thinking_budget_tokens, inner, options)
        given = [budget for budget in budgets if budget is not None]
        return given[0] if given and given[0] >= 0 else None

    def wish_to_think(self) -> bool | None:
        """Returns whether to think; None: the template's default."""
        options = self.reasoning.enabled if self.reasoning else None
        switch = self.thinking
        if isinstance(switch, Thinking):
            switch = {"enabled": True, "disabled": False}.get(switch.type)
        return next((wish for wish in (switch, self.enable_thinking, options) if wish is not None), None)

    def where_thoughts_go(self) -> Reasoning:
        """Returns what happens to the thoughts of the answer."""
        if self.include_reasoning is False or (self.reasoning and self.reasoning.exclude):
            return Reasoning.HIDDEN
        inside = self.reasoning_format == "none" or self.separate_reasoning is False
        return Reasoning.INSIDE if inside else Reasoning.APART

    def talk(self) -> ChatPrompt:
        """Returns the chat for the chat template. Errors: ApiError 400."""
        effort = self.reasoning_effort or (self.reasoning.effort if self.reasoning else None)
        values = dict(self.chat_template_kwargs or {})
        if self.documents:
            values["documents"] = self.documents
        if self.continue_final_message and self.add_generation_prompt:
            raise bad(
                "expected continue_final_message or add_generation_prompt, got both",
                "continue_final_message",
                COMBINATION,
            )
        tools, forced = tool_use(self.tools, self.tool_choice)
        return ChatPrompt(
            messages=tuple(message.for_template() for message in self.messages),
            tools=tools,
            template_values=values,
            thinking=self.wish_to_think(),
            effort=effort,
            forced_call=forced,
            continues=bool(self.continue_final_message),
            answers=self.add_generation_prompt is not False,
        )


def read_chat(body: Mapping[str, Any], served: Served) -> tuple[GenerationRequest, OpenAiWriter]:
    """Reads the request of a body of /v1/chat/completions. Errors: ApiError 4xx."""
    asked, ignored = checked(ChatBody, body, CHAT, served)
    request = GenerationRequest(
        prompts=(asked.talk(),),
        where="messages",
        sampling=asked.sampling(),
        ending=replace(asked.ending(default_tokens=None), think_budget=asked.think_budget()),
        n=asked.n or 1,
        stream=bool(asked.stream),
        progress=bool(asked.return_progress),
        form=asked.form(),
        ignored=ignored,
        reasoning=asked.where_thoughts_go(),
        parallel_calls=asked.parallel_tool_calls is not False,
    )
    return request, OpenAiWriter(served.resolve(asked.model), chat=True, include_usage=asked.include_usage)
