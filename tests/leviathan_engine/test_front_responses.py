"""OpenAI's Responses API: the real `openai` package over a real front process, letters for a model."""

from typing import Any

import openai
import pytest
from front_process import ALPHABET, FrontProcess

from leviathan_engine.front.generation.events import Choice, Finish, Part, TextDelta, Usage
from leviathan_engine.front.responses.answers import ResponseWriter
from leviathan_engine.front.responses.body import as_chat, read


@pytest.fixture
def client(front: FrontProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0, timeout=60)


def test_a_response(client: openai.OpenAI) -> None:
    response = client.responses.create(model="letters", input="hello", temperature=0, instructions="be short")
    assert (response.object, response.status, response.model) == ("response", "completed", "letters")
    assert response.output_text == ALPHABET
    assert response.output[0].type == "message"
    assert response.usage is not None
    assert (response.usage.output_tokens, response.usage.total_tokens) == (26, response.usage.input_tokens + 26)
    assert response.instructions == "be short"
    assert response.previous_response_id is None


def test_a_response_that_is_cut_off(client: openai.OpenAI) -> None:
    response = client.responses.create(model="letters", input="hello", temperature=0, max_output_tokens=3)
    assert (response.status, response.output_text) == ("incomplete", "abc")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(model="letters", input="hello", temperature=0, max_output_tokens=30) as stream:
        events = list(stream)
        final = stream.get_final_response()
    names = [event.type for event in events]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert names[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ALPHABET
    assert final.output_text == ALPHABET


def test_the_earlier_items_of_a_talk(client: openai.OpenAI) -> None:
    first = client.responses.create(model="letters", input="hello", temperature=0)
    talk: Any = [{"role": "user", "content": "hello"}, *first.output, {"role": "user", "content": "more"}]
    second = client.responses.create(model="letters", input=talk, temperature=0)
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens + 26


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id: this server stores no responses"),
        ({"background": True}, "background is not supported"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": []}, "input is empty"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "expected an item of type message"),
        ({"nonsense": 1}, "nonsense is not a known field"),
    ],
)
def test_what_is_refused(client: openai.OpenAI, changes: dict[str, Any], says: str) -> None:
    body = {"model": "letters", "input": "hello"} | changes
    with pytest.raises(openai.BadRequestError, match=says):
        client.post("/responses", body=body, cast_to=dict)


def test_items_and_options_as_a_chat() -> None:
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "2+2"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "add", "arguments": "[]"},
        {"type": "function_call_output", "call_id": "c1", "output": "4"},
    ]
    body = {
        "model": "m",
        "input": items,
        "tools": [{"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "function", "name": "add"},
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        "max_output_tokens": 7,
        "store": True,
        "metadata": {"a": "b"},
    }
    calls = [
        {"id": name, "type": "function", "function": {"name": "add", "arguments": arguments}}
        for name, arguments in (("c1", "{}"), ("c2", "[]"))
    ]
    assert as_chat(read(body, ignore_unknown=False)) == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "2+2"},
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
        ],
        "max_tokens": 7,
        "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    }


def test_reasoning_is_an_item_of_its_own() -> None:
    asked = read({"model": "m", "input": "x"}, ignore_unknown=False)
    whole = ResponseWriter(asked, "m").whole([Choice(0, "4", "hm", "stop")], Usage(3, 2))
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message"]
    writer = ResponseWriter(asked, "m")
    text = writer.begin() + "".join(
        writer.write(event) for event in (TextDelta(0, "hm", Part.REASONING), TextDelta(0, "4"), Finish(0, "stop"))
    )
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert "response.reasoning_text.delta" in names
    assert names.count("response.output_item.done") == 2
