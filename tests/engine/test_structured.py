"""The real engine keeps to a schema, a GBNF grammar, an expression and a forced call: launcher, front and worker."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")
    pytest.importorskip("ktransformers")

from launcher_process import CPU, Running

from leviathan_engine.model.tool_format import CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, SEP

# DeepSeek-V3.1's form of calls.
TEMPLATE = (
    "{% for m in messages %}{{ m['content'] or '' }}{% for c in m['tool_calls'] or [] %}"
    f"{CALLS_BEGIN}{CALL_BEGIN}{{{{ c['function']['name'] }}}}{SEP}{{{{ c['function']['arguments'] }}}}{CALL_END}"
    f"{CALLS_END}{{% endfor %}}{{% endfor %}}{{{{ tools or '' }}}}"
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "color": {"enum": ["red", "green"]},
        "count": {"type": "integer", "minimum": 10, "maximum": 99},
        "seen": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["color", "count", "seen"],
    "additionalProperties": False,
}
ASK: list[Any] = [{"role": "user", "content": "x"}]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA, "strict": True}} for name in ("paint", "draw")
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    work = tmp_path_factory.mktemp("structured")
    template = Path(work / "template.jinja")
    template.write_text(TEMPLATE, encoding="utf-8")
    running = Running(
        work, engine=CPU, flags={"--chat_template": template, "--cache_lens": 1024, "--max_new_tokens": 400}
    )
    try:
        running.wait()
        yield running.url
    finally:
        running.end()


@pytest.fixture(scope="module")
def no_blanks(server: str) -> dict[str, int]:
    """A bias against blanks: random weights would fill the answer with them."""
    ids = httpx.post(server + "/tokenize", json={"content": " \n\t\r", "add_special_tokens": False}).json()["tokens"]
    return {str(token): -100 for token in ids}


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server + "/v1", api_key="none", max_retries=0, timeout=300) as made:
        yield made


def right(value: Any) -> bool:
    """Whether a value follows SCHEMA."""
    return (
        list(value) == ["color", "count", "seen"]
        and value["color"] in ("red", "green")
        and 10 <= value["count"] <= 99
        and 1 <= len(value["seen"]) <= 2
        and all(isinstance(one, bool) for one in value["seen"])
    )


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_schema(client: openai.OpenAI, no_blanks: dict[str, int], temperature: float) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=ASK,
        temperature=temperature,
        seed=1,
        logit_bias=no_blanks,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    )
    assert answer.choices[0].finish_reason == "stop"
    assert right(json.loads(answer.choices[0].message.content or "")), answer.choices[0].message.content


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_grammar_of_llama_cpps(client: openai.OpenAI, temperature: float) -> None:
    grammar = 'root ::= word ("," word){1,2}\nword ::= [a-c]{2} | "x" digit+ "!"\ndigit ::= [0-9]'
    answer = client.completions.create(
        model="tiny", prompt="x", max_tokens=300, temperature=temperature, seed=1, extra_body={"grammar": grammar}
    )
    word = "([a-c]{2}|x[0-9]+!)"
    text, reason = answer.choices[0].text, answer.choices[0].finish_reason
    # Random weights may write digits to the end of the room.
    assert re.fullmatch(f"{word}(,{word}){{1,2}}", text) or (reason == "length" and text[-1].isdigit()), text


def test_min_tokens_and_ignore_eos_do_not_bar_the_end(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="tiny",
        prompt="x",
        max_tokens=50,
        temperature=1,
        seed=1,
        extra_body={"regex": "[ab]{3}", "min_tokens": 40, "ignore_eos": True},
    )
    assert re.fullmatch("[ab]{3}", answer.choices[0].text)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "draw"}}])
def test_a_call(client: openai.OpenAI, no_blanks: dict[str, int], choice: Any, temperature: float) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=ASK,
        tools=TOOLS,
        tool_choice=choice,
        parallel_tool_calls=False,
        temperature=temperature,
        seed=2,
        logit_bias=no_blanks,
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name in (["paint", "draw"] if choice == "required" else ["draw"])
    assert right(json.loads(call.function.arguments)), call.function.arguments


def test_what_cannot_be_done_is_refused_before_the_engine_is_asked(client: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(openai.BadRequestError, match="uniqueItems is not supported"):
        client.chat.completions.create(model="tiny", messages=ASK, response_format=form)
