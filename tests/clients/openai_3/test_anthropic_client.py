"""The anthropic package: models, messages, streams, tools, thoughts, counts."""

from typing import Any

import anthropic
import pytest

ASK: list[Any] = [{"role": "user", "content": "2 + 2?"}]
TOOL: Any = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
def client(server: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


def test_models(client: anthropic.Anthropic) -> None:
    (model,) = client.models.list()
    assert (model.id, model.type, model.display_name) == ("letters", "model", "letters")
    assert client.models.retrieve("letters").created_at.year > 2000


def test_messages(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(model="letters", max_tokens=100, messages=ASK, system="Be short.")
    block: Any = answer.content[0]
    assert (block.text, answer.stop_reason, answer.usage.output_tokens) == ("Four.", "end_turn", 5)
    with client.messages.stream(model="letters", max_tokens=100, messages=ASK) as stream:
        assert "".join(stream.text_stream) == "Four."
    count = client.messages.count_tokens(model="letters", messages=ASK)
    assert count.input_tokens > 5


def test_tools_and_thoughts(client: anthropic.Anthropic) -> None:
    first = client.messages.create(model="letters", max_tokens=1000, messages=ASK, tools=[TOOL])
    use: Any = first.content[-1]
    assert (use.type, use.name, use.input, first.stop_reason) == ("tool_use", "weather", {"city": "Paris"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "18"}
    talk: Any = [*ASK, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second: Any = client.messages.create(model="letters", max_tokens=1000, messages=talk, tools=[TOOL])
    assert second.content[0].text == "18 degrees."
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    third: Any = client.messages.create(model="letters", max_tokens=2000, messages=ASK, thinking=thinking)
    assert [block.type for block in third.content] == ["thinking", "text"]
