"""litellm: its providers for servers like this one, tools, structured output, Responses, Ollama, Anthropic's bridge."""

import asyncio
import json
from typing import Any

import litellm
import pytest

ASK = [{"role": "user", "content": "2 + 2?"}]
PROVIDERS = ["openai/", "hosted_vllm/", "llamafile/", "lm_studio/"]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture
def ask(server: Any) -> Any:
    def ask(provider: str = "openai/", **more: Any) -> Any:
        base = server.url if provider == "ollama_chat/" else server.url + "/v1"
        given = {"messages": ASK, "api_base": base, "api_key": "none", "num_retries": 0} | more
        return litellm.completion(provider + "letters", **given)

    return ask


@pytest.mark.parametrize("provider", [*PROVIDERS, "ollama_chat/"])
def test_chat_and_stream(ask: Any, provider: str) -> None:
    whole = ask(provider)
    assert whole.choices[0].message.content == "Four."
    assert whole.usage.completion_tokens == 5
    parts = list(ask(provider, stream=True))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == "Four."


@pytest.mark.parametrize("provider", [*PROVIDERS, "ollama_chat/"])
def test_tools(ask: Any, provider: str) -> None:
    (found,) = ask(provider, tools=[WEATHER]).choices[0].message.tool_calls
    assert (found.function.name, json.loads(found.function.arguments)) == ("weather", {"city": "Paris"})


def test_response_format(ask: Any) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "user", "schema": schema}}
    assert json.loads(ask(response_format=form).choices[0].message.content)["age"] == 36


def test_text_completion_and_responses(server: Any) -> None:
    given = {"api_base": server.url + "/v1", "api_key": "none"}
    text: Any = litellm.text_completion(model="text-completion-openai/letters", prompt="a", **given)
    assert text.choices[0].text == "Four."
    found: Any = litellm.responses(model="openai/letters", input="2 + 2?", **given)
    assert found.output[0].content[0].text == "Four."


def test_anthropics_messages(server: Any) -> None:
    """litellm's own translation to chat completions, and the server's messages."""
    bridge = litellm.anthropic_messages(
        model="openai/letters", messages=ASK, max_tokens=100, api_base=server.url + "/v1", api_key="none"
    )
    found: Any = asyncio.run(bridge)
    assert [block["text"] for block in found["content"] if block["type"] == "text"] == ["Four."]
    answer: Any = litellm.completion("anthropic/letters", messages=ASK, api_base=server.url, api_key="none")
    assert answer.choices[0].message.content == "Four."
