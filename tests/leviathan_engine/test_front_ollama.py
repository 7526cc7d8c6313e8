"""Ollama's API: the real `ollama` package over a real front process, letters for a model."""

import httpx
import ollama
import pytest
from front_process import ALPHABET, FrontProcess

from leviathan_engine.front.generation.events import Choice, Finish, Part, TextDelta, Usage
from leviathan_engine.front.json_response import json_object
from leviathan_engine.front.ollama.answers import OllamaWriter
from leviathan_engine.front.ollama.body import ChatBody, GenerateBody, as_chat, as_generation, read

HELLO = [{"role": "user", "content": "hello"}]
COLD = {"temperature": 0}


@pytest.fixture
def client(front: FrontProcess) -> ollama.Client:
    return ollama.Client(host=front.url)


def test_the_model(client: ollama.Client, front: FrontProcess) -> None:
    assert [model.model for model in client.list().models] == ["letters"]
    assert [model.model for model in client.ps().models] == ["letters"]
    shown = client.show("letters:latest")
    assert shown.modelinfo is not None
    assert shown.modelinfo["deepseek2.context_length"] == 450
    assert "completion" in (shown.capabilities or [])
    with pytest.raises(ollama.ResponseError) as missing:
        client.show("other")
    assert missing.value.status_code == 404
    assert httpx.get(front.url + "/api/version").json()["version"].count(".") == 2


def test_chat(client: ollama.Client) -> None:
    answer = client.chat("letters:latest", HELLO, options=COLD)
    assert (answer.message.role, answer.message.content, answer.done, answer.done_reason) == (
        "assistant",
        ALPHABET,
        True,
        "stop",
    )
    assert (answer.prompt_eval_count, answer.eval_count) == (8, 26)
    assert answer.total_duration is not None
    assert answer.total_duration > 0


def test_a_streamed_chat(client: ollama.Client) -> None:
    parts = list(client.chat("letters", HELLO, options=COLD | {"num_predict": 4, "num_ctx": 4096}, stream=True))
    assert "".join(part.message.content or "" for part in parts) == "abcd"
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("length", 4)


def test_generate(client: ollama.Client) -> None:
    answer = client.generate("letters", "hello", options=COLD | {"num_predict": 3})
    assert (answer.response, answer.prompt_eval_count) == ("abc", 8)
    raw = client.generate("letters", "hello", raw=True, options=COLD | {"num_predict": -1})
    assert (raw.response, raw.prompt_eval_count) == (ALPHABET, 5)
    streamed = client.generate("letters", "hello", options=COLD, stream=True)
    assert "".join(part.response for part in streamed) == ALPHABET


def test_errors(client: ollama.Client, front: FrontProcess) -> None:
    with pytest.raises(ollama.ResponseError, match=r"options\.penalty is not supported"):
        client.chat("letters", HELLO, options={"penalty": 1})
    with pytest.raises(ollama.ResponseError, match="does not exist"):
        client.chat("other", HELLO)
    wrong = front.post("/api/chat", []).json()
    assert set(wrong) == {"error", "param", "code"}
    assert isinstance(wrong["error"], str)


def test_stream_is_the_default(front: FrontProcess) -> None:
    answer = front.post("/api/chat", {"model": "letters", "messages": HELLO, "options": COLD})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.count("\n") > 3


def test_a_talk_with_tools_as_a_chat() -> None:
    body = {
        "model": "m",
        "stream": False,
        "messages": [
            {"role": "user", "content": "2+2"},
            {
                "role": "assistant",
                "thinking": "hm",
                "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}],
            },
            {"role": "tool", "tool_name": "add", "content": "4"},
        ],
        "tools": [{"type": "function", "function": {"name": "add", "parameters": {}}}],
        "format": {"type": "object"},
        "think": True,
        "options": {"repeat_penalty": 1.1, "num_predict": -2, "top_k": 4},
    }
    call = {"id": "call_1_0", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
    assert as_chat(read(ChatBody, body, ignore_unknown=False)) == {
        "model": "m",
        "stream": False,
        "repetition_penalty": 1.1,
        "max_tokens": -1,
        "top_k": 4,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
        "thinking": True,
        "messages": [
            {"role": "user", "content": "2+2"},
            {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [call]},
            {"role": "tool", "content": "4", "tool_call_id": "call_1_0"},
        ],
        "tools": body["tools"],
    }
    assert json_object('{"a": 2}') == {"a": 2}
    assert json_object("[1]") == {"text": "[1]"}


def test_generate_as_a_chat() -> None:
    asked = read(GenerateBody, {"model": "m", "prompt": "p", "system": "s", "format": "json"}, ignore_unknown=False)
    assert as_generation(asked) == {
        "model": "m",
        "stream": True,
        "response_format": {"type": "json_object"},
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}],
    }


def test_every_line_of_a_stream_is_json() -> None:
    """Heartbeats too: Ollama's clients read each line."""
    writer = OllamaWriter("m", chat=True)
    lines = [writer.beat("waiting")]
    lines += [writer.write(event) for event in (TextDelta(0, "hm", Part.REASONING), TextDelta(0, "4"))]
    lines += [writer.write(Finish(0, "length")), writer.end(Usage(3, 2, timings={"prompt_ms": 1.5, "predicted_ms": 2}))]
    texts = [ollama.ChatResponse.model_validate_json(line) for line in "".join(lines).splitlines()]
    assert [(text.message.thinking, text.message.content) for text in texts] == [
        (None, ""),
        ("hm", ""),
        (None, "4"),
        (None, ""),
    ]
    assert (texts[-1].done_reason, texts[-1].prompt_eval_duration) == ("length", 1_500_000)
    assert OllamaWriter("m", chat=False).whole([Choice(0, "4", "", "stop")], Usage(3, 1))["response"] == "4"
