"""Tools over a real front process, with the openai client and recorded outputs of DeepSeek's two formats."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from deepseek_templates import template_source
from front_process import FrontProcess

from leviathan_engine.model.tool_format import CALLS_BEGIN, CALLS_END, ToolFormat

CHAT = "/v1/chat/completions"
ASK: list[Any] = [{"role": "user", "content": "Weather in Paris and Rome?"}]
PARIS, ROME = '{"city": "Paris"}', '{"city": "Rome"}'
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "time")
]
FORMS = {"V3": ToolFormat.FENCED, "V3.1": ToolFormat.PLAIN}


@pytest.fixture(scope="module", params=sorted(FORMS))
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path_factory.mktemp("front"), template_source(request.param))
    process.serve(cache_lens=6000, max_prompt=5000, max_new_tokens=900)
    process.form = FORMS[request.param]  # type: ignore[attr-defined]
    yield process
    process.close()


def calls(front: FrontProcess, *arguments: str, before: str = "") -> str:
    """What the model says to call weather with each of the arguments."""
    form: ToolFormat = front.form  # type: ignore[attr-defined]
    return before + CALLS_BEGIN + "\n".join(form.call("weather", one) for one in arguments) + CALLS_END


def ask(front: FrontProcess, **changes: Any) -> dict[str, Any]:
    body = {"messages": ASK, "tools": TOOLS, "temperature": 0} | changes
    answer = front.post(CHAT, body)
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def prompt(front: FrontProcess) -> str:
    """The prompt of the last job."""
    tokenizer = __import__("tokenizers").Tokenizer.from_file(str(front.folder / "tokenizer.json"))
    return str(tokenizer.decode(list(front.letters.jobs[-1].ids), skip_special_tokens=False))


def test_parallel_calls(front: FrontProcess) -> None:
    front.letters.says(calls(front, PARIS, ROME, before="I look.\n"))
    choice = ask(front)
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "I look.")
    found = choice["message"]["tool_calls"]
    assert [call["function"] for call in found] == [
        {"name": "weather", "arguments": PARIS},
        {"name": "weather", "arguments": ROME},
    ]
    assert len({call["id"] for call in found}) == 2
    assert "### weather" in prompt(front)


def test_one_call_where_parallel_calls_are_not_wanted(front: FrontProcess) -> None:
    front.letters.says(calls(front, PARIS, ROME))
    choice = ask(front, parallel_tool_calls=False)
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == [PARIS]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)


def test_calls_are_streamed_as_openai_streams_them(front: FrontProcess) -> None:
    front.letters.says(calls(front, PARIS, ROME))
    client = openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0)
    stream = client.chat.completions.create(
        model="letters", messages=ASK, tools=TOOLS, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    names: dict[int, str] = {}
    arguments: dict[int, list[str]] = {}
    finish = ""
    for chunk in stream:
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                if call.id:
                    assert call.index not in names
                    names[call.index] = call.function.name
                else:
                    arguments.setdefault(call.index, []).append(call.function.arguments)
    assert names == {0: "weather", 1: "weather"}
    assert {index: "".join(pieces) for index, pieces in arguments.items()} == {0: PARIS, 1: ROME}
    assert min(map(len, arguments.values())) > 5
    assert finish == "tool_calls"


def test_the_history_is_in_the_prompt(front: FrontProcess) -> None:
    """The answer of the openai client goes back as it came, with the result of the call."""
    front.letters.says(calls(front, PARIS))
    client = openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0)
    first = client.chat.completions.create(model="letters", messages=ASK, tools=TOOLS, temperature=0)
    call = first.choices[0].message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"degrees": 18})}
    front.letters.says("18 degrees.")
    talk = [*ASK, first.choices[0].message, result]
    second = client.chat.completions.create(model="letters", messages=talk, tools=TOOLS, temperature=0)
    assert (second.choices[0].message.content, second.choices[0].finish_reason) == ("18 degrees.", "stop")
    form: ToolFormat = front.form  # type: ignore[attr-defined]
    assert form.call("weather", PARIS) in prompt(front)
    assert '{"degrees": 18}' in prompt(front)


def test_a_forced_call(front: FrontProcess) -> None:
    """The prompt opens the call; the model says the rest."""
    form: ToolFormat = front.form  # type: ignore[attr-defined]
    whole = CALLS_BEGIN + form.call("time", "{}") + CALLS_END
    for choice, name in (({"type": "function", "function": {"name": "time"}}, "time"), ("required", "")):
        opened = form.opening(name)
        front.letters.says(whole.removeprefix(opened))
        answer = ask(front, tool_choice=choice)
        assert prompt(front).endswith(opened)
        assert [call["function"] for call in answer["message"]["tool_calls"]] == [{"name": "time", "arguments": "{}"}]


def test_no_call_where_none_is_wanted(front: FrontProcess) -> None:
    text = calls(front, PARIS)
    front.letters.says(text)
    choice = ask(front, tool_choice="none")
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, "stop")
    assert "### weather" not in prompt(front)


def test_an_answer_without_a_call(front: FrontProcess) -> None:
    front.letters.says("No need.")
    choice = ask(front)
    assert choice["message"] == {"role": "assistant", "content": "No need."}
    assert choice["finish_reason"] == "stop"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"tools": [TOOLS[0], TOOLS[0]]}, "expected a unique name"),
    ({"tools": [], "tool_choice": "required"}, "tools is missing"),
    (
        {"tool_choice": {"type": "function", "function": {"name": "absent"}}},
        "expected the name of one of the tools, got 'absent'",
    ),
    ({"tool_choice": "always"}, "tool_choice"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "tool_calls[0].function.name is missing"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG)
def test_wrong_tools(front: FrontProcess, changes: dict[str, Any], says: str) -> None:
    refused = front.post(CHAT, {"messages": ASK, "tools": TOOLS} | changes)
    assert refused.status_code == 400
    assert says in refused.json()["error"]["message"]
