"""Anthropic's Messages API: the real `anthropic` package over a real front process, letters for a model."""

import json
from typing import Any

import anthropic
import httpx
import pytest
from front_process import ALPHABET, FrontProcess

from leviathan_engine.front.anthropic.answers import MessageWriter
from leviathan_engine.front.anthropic.body import MessagesBody, as_chat, read
from leviathan_engine.front.generation.events import Choice, Finish, Part, TextDelta, Usage

HELLO: Any = [{"role": "user", "content": "hello"}]
COLD = {"temperature": 0}


@pytest.fixture
def client(front: FrontProcess) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=front.url, api_key="none", max_retries=0, timeout=60)


def test_a_message(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model="letters", max_tokens=5, messages=HELLO, extra_body=COLD)
    assert (message.type, message.role, message.model, message.id[:4]) == ("message", "assistant", "letters", "msg_")
    assert [(block.type, block.text) for block in message.content] == [("text", "abcde")]
    assert message.stop_reason == "max_tokens"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (8, 5)
    whole = client.messages.create(model="letters", max_tokens=50, messages=HELLO, extra_body=COLD)
    assert (whole.content[0].text, whole.stop_reason) == (ALPHABET, "end_turn")


def test_a_stream(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="letters", max_tokens=5, messages=HELLO, extra_body=COLD) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == final.content[0].text == "abcde"
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("max_tokens", 8, 5)


def test_the_events_of_a_stream(front: FrontProcess) -> None:
    """In Anthropic's order, each with its name twice."""
    body = {"model": "letters", "max_tokens": 1, "messages": HELLO, "temperature": 0, "stream": True}
    answer = front.post("/v1/messages", body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    names = []
    for event in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        names.append(name.removeprefix("event: "))
        assert json.loads(data.removeprefix("data: "))["type"] == names[-1]
    middle = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert names == ["message_start", *middle, "message_delta", "message_stop"]


def test_count_tokens(client: anthropic.Anthropic) -> None:
    """The same number as the message itself has."""
    system, messages = "be short", HELLO
    counted = client.messages.count_tokens(model="letters", system=system, messages=messages)
    answered = client.messages.create(model="letters", max_tokens=1, system=system, messages=messages)
    assert counted.input_tokens == answered.usage.input_tokens > 8


def test_errors_are_those_of_anthropics_client(client: anthropic.Anthropic, front: FrontProcess) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(model="gpt-4", max_tokens=5, messages=HELLO)
    assert missing.value.body["error"]["type"] == "not_found_error"
    image = [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]
    with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\].content"):
        client.messages.create(model="letters", max_tokens=5, messages=image)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens is missing"):
        client.post("/v1/messages", body={"model": "letters", "messages": HELLO}, cast_to=httpx.Response)
    wrong: list[Any] = [[], {"model": "letters", "max_tokens": 1, "messages": HELLO, "nonsense": 1}]
    for body in wrong:
        answer = front.post("/v1/messages", body)
        assert (answer.status_code, answer.json()["type"]) == (400, "error")


TALK = {
    "model": "m",
    "max_tokens": 9,
    "system": [
        {"type": "text", "text": "be", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": " short"},
    ],
    "messages": [
        {"role": "user", "content": "2+2"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I add."},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 2}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "4"}]},
                {"type": "text", "text": "so?"},
            ],
        },
    ],
    "tools": [{"name": "add", "description": "adds", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "stop_sequences": ["x"],
    "top_k": 5,
}


def test_tools_and_thoughts_as_a_chat() -> None:
    chat = as_chat(read(MessagesBody, TALK, ignore_unknown=False))
    call = {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
    assert chat == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": "2+2"},
            {"role": "assistant", "content": "I add.", "reasoning_content": "hm", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "t1", "content": "4"},
            {"role": "user", "content": "so?"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}, "description": "adds"}}
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "thinking": {"type": "enabled"},
        "thinking_budget": 1024,
        "max_tokens": 9,
        "top_k": 5,
        "stop": ["x"],
    }


def test_thoughts_are_a_block_of_their_own() -> None:
    writer = MessageWriter("m")
    text = writer.begin()
    for event in (TextDelta(0, "hm", Part.REASONING), TextDelta(0, "4"), TextDelta(0, "!"), Finish(0, "stop")):
        text += writer.write(event)
    text += writer.beat("working") + writer.end(Usage(10, 3, cached=4))
    events = [json.loads(event.split("data: ", 1)[1]) for event in text.removesuffix("\n\n").split("\n\n")]
    blocks = [(event["index"], event["content_block"]["type"]) for event in events if "content_block" in event]
    assert blocks == [(0, "thinking"), (1, "text")]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert deltas[0] == {"type": "thinking_delta", "thinking": "hm"}
    assert [delta["text"] for delta in deltas[1:]] == ["4", "!"]
    assert events[-2]["usage"]["input_tokens"] == 6
    assert events[-2]["usage"]["cache_read_input_tokens"] == 4
    whole = MessageWriter("m").whole([Choice(0, "4!", "hm", "stop")], Usage(10, 3))
    assert [block["type"] for block in whole["content"]] == ["thinking", "text"]


def test_before_the_first_event_a_heartbeat_is_a_comment() -> None:
    """Anthropic's client takes no event before message_start."""
    writer = MessageWriter("m")
    assert writer.beat("waiting") == ": waiting\n\n"
    writer.begin()
    assert writer.beat("working").startswith("event: ping\n")
