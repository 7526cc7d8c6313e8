"""Tools and thoughts in the other APIs: the anthropic, openai and ollama packages, and V3.1's own chat template."""

from collections.abc import Iterator
from typing import Any

import anthropic
import ollama
import openai
import pytest
from deepseek_templates import template_source
from front_process import FrontProcess

from leviathan_engine.model.tool_format import CALLS_BEGIN, CALLS_END, ToolFormat

ASK: Any = [{"role": "user", "content": "Weather in Paris?"}]
PARIS = '{"city": "Paris"}'
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
CALL = "I look." + CALLS_BEGIN + ToolFormat.PLAIN.call("weather", PARIS) + CALLS_END
COLD = {"temperature": 0}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path_factory.mktemp("front"), template_source("V3.1"))
    process.serve(cache_lens=6000, max_prompt=5000, max_new_tokens=900)
    yield process
    process.close()


def prompt(front: FrontProcess) -> str:
    """The prompt of the last job, which has a token a byte."""
    answer = front.post("/detokenize", {"tokens": list(front.letters.jobs[-1].ids)})
    return str(answer.json()["content"])


@pytest.fixture
def claude(front: FrontProcess) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=front.url, api_key="none", max_retries=0, timeout=60)


TOOL: Any = {"name": "weather", "description": "tells it", "input_schema": SCHEMA}


def test_anthropics_tools(front: FrontProcess, claude: anthropic.Anthropic) -> None:
    """A call, its result sent back, and the answer."""
    front.letters.says(CALL)
    first = claude.messages.create(model="letters", max_tokens=500, messages=ASK, tools=[TOOL], extra_body=COLD)
    text, call = first.content
    assert (text.type, text.text, first.stop_reason) == ("text", "I look.", "tool_use")
    assert (call.type, call.name, call.input) == ("tool_use", "weather", {"city": "Paris"})
    assert "### weather" in prompt(front)
    front.letters.says("18 degrees.")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "18"}
    talk: Any = [*ASK, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = claude.messages.create(model="letters", max_tokens=500, messages=talk, tools=[TOOL], extra_body=COLD)
    assert (second.content[0].text, second.stop_reason) == ("18 degrees.", "end_turn")
    assert ToolFormat.PLAIN.call("weather", PARIS) in prompt(front)


def test_anthropics_tools_streamed(front: FrontProcess, claude: anthropic.Anthropic) -> None:
    front.letters.says(CALL)
    with claude.messages.stream(model="letters", max_tokens=500, messages=ASK, tools=[TOOL], extra_body=COLD) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert "".join(pieces) == PARIS
    assert len(pieces) > 5
    assert (final.content[1].input, final.stop_reason) == ({"city": "Paris"}, "tool_use")


def test_anthropics_thinking(front: FrontProcess, claude: anthropic.Anthropic) -> None:
    front.letters.says("Hm.</think>4")
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    raw = claude.messages.with_raw_response.create(
        model="letters", max_tokens=2000, messages=ASK, thinking=thinking, extra_body=COLD
    )
    message = raw.parse()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert (message.content[0].thinking, message.content[1].text) == ("Hm.", "4")
    # This tokenizer has no token for the end of a thought, so a budget cannot be kept, and the answer says so.
    assert "thinking_budget" in raw.headers["x-leviathan-ignored"]
    off = claude.messages.create(
        model="letters", max_tokens=2000, messages=ASK, thinking={"type": "disabled"}, extra_body=COLD
    )
    assert off.content[0].type == "text"


def test_anthropics_stop_sequences(front: FrontProcess, claude: anthropic.Anthropic) -> None:
    front.letters.says("one END two")
    message = claude.messages.create(
        model="letters", max_tokens=500, messages=ASK, stop_sequences=["zz", "END"], extra_body=COLD
    )
    assert (message.content[0].text, message.stop_reason, message.stop_sequence) == ("one ", "stop_sequence", "END")


def test_responses_functions(front: FrontProcess) -> None:
    client = openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0, timeout=60)
    tools: Any = [{"type": "function", "name": "weather", "parameters": SCHEMA}]
    front.letters.says(CALL)
    first = client.responses.create(model="letters", input=ASK, tools=tools, temperature=0)
    assert [item.type for item in first.output] == ["message", "function_call"]
    call: Any = first.output[1]
    assert (call.name, call.arguments, first.status) == ("weather", PARIS, "completed")
    with client.responses.stream(model="letters", input=ASK, tools=tools, temperature=0) as stream:
        events = list(stream)
        streamed: Any = stream.get_final_response().output[1]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == streamed.arguments == PARIS
    front.letters.says("18 degrees.")
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "18"}
    talk: Any = [*ASK, *first.output, result]
    second = client.responses.create(model="letters", input=talk, tools=tools, temperature=0)
    assert second.output_text == "18 degrees."
    assert ToolFormat.PLAIN.call("weather", PARIS) in prompt(front)


def test_ollamas_tools_and_thoughts(front: FrontProcess) -> None:
    client = ollama.Client(host=front.url)
    assert client.show("letters").capabilities == ["completion", "tools", "thinking"]
    tools: Any = [{"type": "function", "function": {"name": "weather", "description": "", "parameters": SCHEMA}}]
    front.letters.says(CALL)
    whole = client.chat("letters", ASK, tools=tools, options=COLD)
    parts = list(client.chat("letters", ASK, tools=tools, options=COLD, stream=True))
    for calls in (whole.message.tool_calls, [call for part in parts for call in part.message.tool_calls or ()]):
        assert calls is not None
        assert [(call.function.name, call.function.arguments) for call in calls] == [("weather", {"city": "Paris"})]
    front.letters.says("18 degrees.")
    talk: Any = [*ASK, whole.message, {"role": "tool", "tool_name": "weather", "content": "18"}]
    assert client.chat("letters", talk, tools=tools, options=COLD).message.content == "18 degrees."
    front.letters.says("Hm.</think>4")
    thought = client.chat("letters", ASK, think=True, options=COLD)
    assert (thought.message.thinking, thought.message.content) == ("Hm.", "4")


def test_the_prompts_progress_in_a_stream(front: FrontProcess) -> None:
    """As llama.cpp has it: chunks of their own before the first text, and only where they are asked for."""
    client = openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0)
    front.letters.says("hi")

    def progress(**more: Any) -> list[Any]:
        chunks = client.chat.completions.create(
            model="letters", messages=ASK, temperature=0, stream=True, extra_body=more
        )
        return [chunk.prompt_progress for chunk in chunks if getattr(chunk, "prompt_progress", None)]

    found = progress(return_progress=True)
    assert found
    assert set(found[-1]) == {"total", "cache", "processed", "time_ms"}
    assert found[-1]["processed"] == found[-1]["total"] > 10
    assert progress() == []
