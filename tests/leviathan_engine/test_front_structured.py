"""Structured output over a real front process: how each API asks for it, what the engine gets, what is refused."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from deepseek_templates import template_source
from front_process import FrontProcess
from pydantic import BaseModel

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
ASK = [{"role": "user", "content": "hi"}]


def grammar(front: FrontProcess, path: str = CHAT, **fields: Any) -> str:
    """The grammar of the job that a request has led to."""
    what = {"prompt": "hi"} if path == COMPLETION else {"messages": ASK}
    answer = front.post(path, {"temperature": 0} | what | fields)
    assert answer.status_code == 200, answer.text
    return str(front.letters.jobs[-1].sampling.get("grammar"))


@pytest.mark.parametrize("path", [CHAT, COMPLETION])
@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "schema": SCHEMA}},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"structured_outputs": {"json": SCHEMA}},
        {"structured_outputs": {"json": json.dumps(SCHEMA), "regex": None}},
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"json_schema": SCHEMA},
        {"json_schema": json.dumps(SCHEMA)},
    ],
)
def test_every_way_to_ask_for_a_schema(front: FrontProcess, path: str, fields: Any) -> None:
    assert json.dumps(SCHEMA)[1:-1] in grammar(front, path, **fields)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"response_format": {"type": "json_object"}}, '"type": "object"'),
        ({"structured_outputs": {"json_object": True}}, '"type": "object"'),
        ({"guided_regex": "a/b"}, r"/a\/b/"),
        ({"regex": "a"}, "/a/"),
        ({"structured_outputs": {"regex": "a"}}, "/a/"),
        ({"guided_choice": ["x", "y"]}, '"x" | "y"'),
        ({"structured_outputs": {"choice": ["x"]}}, '"x"'),
        ({"grammar": 'root ::= "x"'}, 'start: "x"'),
        ({"ebnf": 'root ::= "x"'}, 'start: "x"'),
        ({"guided_grammar": 'start: "x"'}, 'start: "x"'),
        ({"structured_outputs": {"grammar": 'start: "x"'}}, 'start: "x"'),
    ],
)
def test_other_kinds(front: FrontProcess, fields: Any, part: str) -> None:
    assert part in grammar(front, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"response_format": {"type": "text"}},
        {"response_format": None, "grammar": "", "guided_regex": None, "structured_outputs": {}},
    ],
)
def test_what_asks_for_nothing(front: FrontProcess, fields: Any) -> None:
    assert grammar(front, **fields) == "None"


@pytest.mark.parametrize(
    ("fields", "param", "code", "says"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"uniqueItems": True}}}},
            "response_format.json_schema.schema",
            "unsupported_grammar",
            "uniqueItems is not supported",
        ),
        ({"guided_json": {"not": {}}}, "guided_json", "unsupported_grammar", "guided_json: not is not supported"),
        ({"guided_regex": "("}, "guided_regex", "unsupported_grammar", "unclosed group"),
        ({"grammar": "root ::= nothing"}, "grammar", "unsupported_grammar", "'nothing' not found"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "invalid_combination", "missing"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value", "expected"),
        ({"guided_json": "[1]"}, "guided_json", "unsupported_grammar", "expected a JSON object, got a list"),
        ({"guided_json": "{"}, "guided_json", "unsupported_grammar", "not JSON"),
        ({"regex": "a", "grammar": "b"}, "grammar", "invalid_combination", "got both"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs", "unsupported_parameter", "structural"),
        ({"guided_whitespace_pattern": " "}, "guided_whitespace_pattern", "unsupported_parameter", "not supported"),
        ({"structural_tag": {}}, "structural_tag", "unsupported_parameter", "not supported"),
        ({"guided_choice": []}, "guided_choice", "invalid_value", "empty"),
    ],
)
def test_refused_by_name(front: FrontProcess, fields: Any, param: str, code: str, says: str) -> None:
    answer = front.post(CHAT, {"messages": ASK} | fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, code), error
    assert says in error["message"]


def test_a_grammar_that_is_too_long(front: FrontProcess) -> None:
    answer = front.post(COMPLETION, {"prompt": "x", "guided_choice": ["x" * 1000] * 300})
    assert answer.status_code == 400, answer.text
    assert "at most 262144 are allowed" in answer.json()["error"]["message"]


class Person(BaseModel):
    """What openai's parse makes a schema of."""

    name: str
    age: int


def test_openais_parse(front: FrontProcess) -> None:
    front.letters.says('{"name":"Ada","age":36}')
    with openai.OpenAI(base_url=front.url + "/v1", api_key="k") as client:
        made = client.chat.completions.parse(model="letters", messages=ASK, temperature=0, response_format=Person)
        assert made.choices[0].message.parsed == Person(name="Ada", age=36)
        answer = client.responses.parse(model="letters", input="hi", temperature=0, text_format=Person)
        assert answer.output_parsed == Person(name="Ada", age=36)
    front.letters.says("")
    assert '"age"' in front.letters.jobs[-1].sampling["grammar"]


def test_ollamas_and_anthropics_format(front: FrontProcess) -> None:
    body = {"model": "letters", "messages": ASK, "stream": False, "options": {"temperature": 0}}
    assert front.post("/api/chat", body | {"format": SCHEMA}).status_code == 200
    assert '"a"' in front.letters.jobs[-1].sampling["grammar"]
    assert front.post("/api/chat", body | {"format": "json"}).status_code == 200
    assert '"object"' in front.letters.jobs[-1].sampling["grammar"]
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    body = {"model": "letters", "messages": ASK, "max_tokens": 9, "output_config": form}
    assert front.post("/v1/messages", body).status_code == 200
    assert '"a"' in front.letters.jobs[-1].sampling["grammar"]


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path_factory.mktemp("front"), template_source("R1"))
    process.serve(cache_lens=6000, max_prompt=5000, max_new_tokens=900)
    yield process
    process.close()
