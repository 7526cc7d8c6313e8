"""No field of a request is ignored silently: each is done, let through by a list, or refused by name."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from front_process import FrontProcess

from leviathan_engine.front.openai.rules import CHAT, COMPLETION
from leviathan_engine.front.requests.field_rules import FieldRules

HELLO = [{"role": "user", "content": "hello"}]
PLACES = {
    "/v1/chat/completions": (CHAT, {"messages": HELLO, "max_tokens": 1}),
    "/v1/completions": (COMPLETION, {"prompt": "ab", "max_tokens": 1}),
}
FIELDS = [(path, name) for path, (rules, _) in PLACES.items() for name in sorted(rules.neutral)]
# Of the documents of OpenAI, vLLM, SGLang, llama.cpp and OpenRouter, with values that ask for something.
ASKING: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "modalities": ["text", "audio"],
    "web_search_options": {},
    "verbosity": "low",
    "truncate_prompt_tokens": 3,
    "allowed_token_ids": [1],
    "bad_words": ["x"],
    "length_penalty": 2,
    "include_stop_str_in_output": True,
    "stop_regex": ["a+"],
    "lora_path": "x",
    "dry_multiplier": 0.8,
    "xtc_probability": 0.5,
    "t_max_predict_ms": 100,
    "samplers": ["top_k"],
    "mirostat": 2,
    "min_keep": 5,
    "parse_tool_calls": False,
    "plugins": [{"id": "web"}],
    "stream_options": {"continuous_usage_stats": True},
    "thinking": {"type": "enabled", "clear_thinking": False},
    "reasoning": {"effort": "low", "summary": "auto"},
}


@pytest.fixture(scope="module")
def client(front: FrontProcess) -> Iterator[httpx.Client]:
    """One connection for all of it: there are many requests."""
    with httpx.Client(base_url=front.url, timeout=60) as one:
        yield one


@pytest.mark.parametrize(("path", "name"), FIELDS)
def test_what_is_not_done_is_refused_by_name(client: httpx.Client, path: str, name: str) -> None:
    """Every name of the list, with a value that no feature has; its values that ask for nothing are taken."""
    rules, body = PLACES[path]

    def ask(value: Any) -> Any:
        outer, _, inner = name.partition(".")
        return client.post(path, json=body | {outer: {inner: value} if inner else value})

    refused = ask({"odd": "value"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
    for value in (None, *rules.neutral[name]):
        assert ask(value).status_code == 200, value


@pytest.mark.parametrize("path", sorted(PLACES))
def test_what_changes_no_answer_is_let_through(client: httpx.Client, path: str) -> None:
    rules, body = PLACES[path]
    assert client.post(path, json=body | dict.fromkeys(rules.let_through, "x")).status_code == 200


@pytest.mark.parametrize("name", sorted(ASKING))
def test_a_field_of_another_server(client: httpx.Client, name: str) -> None:
    answer = client.post("/v1/chat/completions", json=PLACES["/v1/chat/completions"][1] | {name: ASKING[name]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].split(".")[0] == name


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/responses", {"model": "letters", "input": "x", "text": {"verbosity": "low"}}, "text.verbosity"),
        ("/v1/responses", {"model": "letters", "input": "x", "nonsense": 1}, "nonsense"),
        ("/v1/messages", {"model": "letters", "max_tokens": 1, "messages": HELLO, "nonsense": 1}, "nonsense"),
        (
            "/v1/messages",
            {"model": "letters", "max_tokens": 1, "messages": HELLO, "thinking": {"type": "disabled", "odd": 1}},
            "thinking.odd",
        ),
        ("/v1/messages/count_tokens", {"model": "letters", "messages": HELLO, "nonsense": 1}, "nonsense"),
        ("/api/chat", {"model": "letters", "messages": HELLO, "options": {"mirostat": 1}}, "options"),
        ("/api/show", {"model": "letters", "nonsense": 1}, "nonsense"),
        ("/tokenize", {"prompt": "x", "parse_special": False}, "parse_special"),
        ("/tokenize", {"messages": HELLO, "nonsense": 1}, "nonsense"),
        ("/detokenize", {"tokens": [1], "nonsense": 1}, "nonsense"),
        ("/apply-template", {"messages": HELLO, "nonsense": 1}, "nonsense"),
    ],
)
def test_the_other_apis(client: httpx.Client, path: str, body: dict[str, Any], param: str) -> None:
    refused = client.post(path, json=body)
    found = refused.json()
    error = found if isinstance(found["error"], str) else found["error"]
    assert (refused.status_code, error["param"]) == (400, param)


def test_the_prompt_of_tokenize_is_that_of_the_chat(client: httpx.Client) -> None:
    """`add_generation_prompt` is done there as well."""
    whole, cut = (
        client.post("/tokenize", json={"messages": HELLO, "add_generation_prompt": wanted}).json()["tokens"]
        for wanted in (True, False)
    )
    assert whole[: len(cut)] == cut
    assert len(whole) > len(cut)


def test_a_budget_of_thoughts_by_each_name(client: httpx.Client) -> None:
    """The letters have no token for the end of a thought, and the header says so: the wish has arrived."""
    for wish in (
        {"thinking_budget": 5},
        {"thinking": {"type": "enabled", "budget_tokens": 5}},
        {"reasoning": {"max_tokens": 5}},
    ):
        answer = client.post("/v1/chat/completions", json=PLACES["/v1/chat/completions"][1] | wish)
        assert answer.status_code == 200
        assert "thinking_budget" in answer.headers["x-leviathan-ignored"]


def test_rules_tell_true_from_one() -> None:
    rules = FieldRules(frozenset(), {"a": (1,)})
    assert rules.check({"a": 1.0}) == []
    with pytest.raises(Exception, match="a is not supported"):
        rules.check({"a": True})
