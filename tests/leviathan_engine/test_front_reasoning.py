"""Thoughts in the answers of a real front process: apart, inside, hidden; streamed and whole."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from deepseek_templates import template_source
from front_process import FrontProcess

CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
THOUGHT = "\nI reason,\n\nslowly.\n</think>\n\nThe answer is 4."


@pytest.fixture(scope="module")
def r1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """R1's own template: the prompt ends inside of the thought."""
    process = FrontProcess(tmp_path_factory.mktemp("front"), template_source("R1"))
    process.serve(cache_lens=2000, max_prompt=1500)
    process.letters.says(THOUGHT)
    yield process
    process.close()


@pytest.fixture(scope="module")
def v31(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path_factory.mktemp("front"), template_source("V3.1"))
    process.serve(cache_lens=2000, max_prompt=1500)
    yield process
    process.close()


def chat(**changes: Any) -> dict[str, Any]:
    return {"messages": HELLO, "temperature": 0, "max_tokens": 200} | changes


def message(front: FrontProcess, **changes: Any) -> dict[str, Any]:
    answer = front.post(CHAT, chat(**changes))
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()["choices"][0]["message"]
    return said


def deltas(front: FrontProcess, **changes: Any) -> list[dict[str, Any]]:
    text = front.post(CHAT, chat(stream=True, **changes)).text
    bodies = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return [choice["delta"] for body in bodies for choice in body["choices"]]


def test_a_thought_is_apart(r1: FrontProcess) -> None:
    assert message(r1) == {
        "role": "assistant",
        "content": "The answer is 4.",
        "reasoning_content": "I reason,\n\nslowly.",
        "reasoning": "I reason,\n\nslowly.",
    }


def test_a_thought_is_streamed_apart(r1: FrontProcess) -> None:
    client = openai.OpenAI(base_url=r1.url + "/v1", api_key="none", max_retries=0)
    stream = client.chat.completions.create(model="letters", messages=HELLO, temperature=0, stream=True)
    thought, content, order = "", "", []
    for chunk in stream:
        delta = chunk.choices[0].delta
        extra = delta.model_extra or {}
        thought += extra.get("reasoning_content", "")
        content += delta.content or ""
        order += ["thought"] if extra.get("reasoning_content") else ["content"] if delta.content else []
    assert (thought, content) == ("I reason,\n\nslowly.", "The answer is 4.")
    assert order == sorted(order, reverse=True)
    assert len(order) > 10


@pytest.mark.parametrize("field", [{"reasoning_format": "none"}, {"separate_reasoning": False}])
def test_a_thought_inside_of_the_content_has_both_tags(r1: FrontProcess, field: dict[str, Any]) -> None:
    assert message(r1, **field) == {"role": "assistant", "content": "<think>\n" + THOUGHT}
    streamed = "".join(delta.get("content", "") for delta in deltas(r1, **field))
    assert streamed == "<think>\n" + THOUGHT


@pytest.mark.parametrize("field", [{"include_reasoning": False}, {"reasoning": {"exclude": True}}])
def test_a_thought_can_be_left_out(r1: FrontProcess, field: dict[str, Any]) -> None:
    assert message(r1, **field) == {"role": "assistant", "content": "The answer is 4."}


def test_a_thought_that_is_cut_off_is_a_thought(r1: FrontProcess) -> None:
    answer = r1.post(CHAT, chat(max_tokens=9)).json()["choices"][0]
    assert answer["finish_reason"] == "length"
    assert (answer["message"]["content"], answer["message"]["reasoning_content"]) == ("", "I reason")


def test_a_completion_is_not_split(r1: FrontProcess) -> None:
    answer = r1.post("/v1/completions", {"prompt": "x", "temperature": 0, "max_tokens": -1}).json()
    assert answer["choices"][0]["text"] == THOUGHT


def test_v31_is_told_to_think_by_the_request(v31: FrontProcess) -> None:
    v31.letters.says("I reason.</think>Four.")
    thought = {"role": "assistant", "content": "Four.", "reasoning_content": "I reason.", "reasoning": "I reason."}
    for field in (
        {"chat_template_kwargs": {"thinking": True}},
        {"thinking": {"type": "enabled"}},
        {"enable_thinking": True},
        {"reasoning_effort": "high"},
        {"reasoning": {"effort": "medium"}},
    ):
        assert message(v31, **field) == thought, field
    v31.letters.says("Four.")
    assert message(v31) == {"role": "assistant", "content": "Four."}
    refused = v31.post(CHAT, chat(chat_template_kwargs={"colour": 1}))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "chat_template_kwargs")
    assert "colour is not a value that the model's chat template reads" in refused.json()["error"]["message"]


def test_a_wish_that_cannot_be_fulfilled_is_named_in_a_header(r1: FrontProcess, v31: FrontProcess) -> None:
    assert r1.post(CHAT, chat(reasoning_effort="low")).headers["x-leviathan-ignored"] == "reasoning_effort"
    # The letters have no token for the tag; with it the budget reaches the engine.
    assert r1.post(CHAT, chat(thinking_budget=3)).headers["x-leviathan-ignored"] == "thinking_budget"
    assert "x-leviathan-ignored" not in v31.post(CHAT, chat(reasoning_effort="low")).headers
