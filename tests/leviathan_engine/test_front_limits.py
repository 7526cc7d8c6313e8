"""max_tokens and the room, the names of the model, and unknown fields: over a real front process."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from front_process import ALPHABET, SERVED, FrontProcess

from leviathan_engine.errors import UsageError
from leviathan_engine.front.limits import limits

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
CLAMPED, IGNORED = "x-leviathan-clamped", "x-leviathan-ignored"


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """A front whose site names aliases, and answers for any model and with unknown fields."""
    process = FrontProcess(
        tmp_path_factory.mktemp("front"),
        LEVIATHAN_MODEL_ALIASES="deepseek-chat, deepseek-ai/DeepSeek-V3",
        LEVIATHAN_ANY_MODEL="1",
        LEVIATHAN_UNKNOWN_FIELDS="ignore",
    )
    process.serve()
    yield process
    process.close()


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "letters", "messages": HELLO, "temperature": 0} | changes


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n_predict"])
@pytest.mark.parametrize("stream", [False, True])
def test_more_tokens_than_there_is_room_for_are_clamped_and_a_header_says_so(
    front: FrontProcess, field: str, stream: bool
) -> None:
    answer = front.post(CHAT, chat(stream=stream) | {field: 32000})
    assert answer.status_code == 200
    assert answer.headers[CLAMPED] == f"max_tokens 32000 to {SERVED.max_new_tokens}"
    assert front.letters.jobs[-1].max_tokens == SERVED.max_new_tokens


def test_the_room_is_what_the_prompt_leaves_of_the_context(front: FrontProcess) -> None:
    """395 letters and 3 special tokens of a context of 450."""
    asked = chat(messages=[{"role": "user", "content": "x" * 395}], max_tokens=53)
    answer = front.post(CHAT, asked)
    assert answer.headers[CLAMPED] == "max_tokens 53 to 52"
    assert front.letters.jobs[-1].max_tokens == 52
    fits = front.post(CHAT, asked | {"max_tokens": 52})
    assert CLAMPED not in fits.headers


@pytest.mark.parametrize("value", [-1, None])
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_minus_one_and_null_are_all_the_room(front: FrontProcess, path: str, value: int | None) -> None:
    body = chat() if path == CHAT else {"prompt": "ab", "temperature": 0}
    answer = front.post(path, body | {"max_tokens": value})
    assert answer.status_code == 200
    assert CLAMPED not in answer.headers
    assert front.letters.jobs[-1].max_tokens == SERVED.max_new_tokens


def test_a_completion_that_says_nothing_has_16_tokens(front: FrontProcess) -> None:
    """OpenAI's default. The control for null, which is all the room."""
    text = front.post(TEXT, {"prompt": "ab", "temperature": 0}).json()["choices"][0]["text"]
    assert text == ALPHABET[:16]


def test_max_completion_tokens_goes_before_max_tokens(front: FrontProcess) -> None:
    front.post(CHAT, chat(max_tokens=9, max_completion_tokens=3))
    assert front.letters.jobs[-1].max_tokens == 3


def test_models_say_the_size_of_the_context(front: FrontProcess) -> None:
    entry = httpx.get(front.url + "/v1/models").json()["data"][0]
    assert (entry["id"], entry["root"], entry["max_model_len"]) == ("letters", "letters", SERVED.cache_lens)
    assert entry["meta"]["n_ctx"] == SERVED.cache_lens
    assert entry["meta"]["max_new_tokens"] == SERVED.max_new_tokens
    assert entry == httpx.get(front.url + "/v1/models/letters").json()


def test_aliases(lenient: FrontProcess) -> None:
    client = openai.OpenAI(base_url=lenient.url + "/v1", api_key="none", max_retries=0, timeout=60)
    assert [model.id for model in client.models.list()] == ["letters", "deepseek-chat", "deepseek-ai/DeepSeek-V3"]
    assert client.models.retrieve("deepseek-ai/DeepSeek-V3").model_extra["root"] == "letters"
    assert httpx.get(lenient.url + "/v1/models/deepseek-ai/DeepSeek-V3").json()["root"] == "letters"
    answer = client.chat.completions.create(model="deepseek-chat", messages=HELLO, temperature=0)  # type: ignore[arg-type]
    assert (answer.model, answer.choices[0].message.content) == ("deepseek-chat", ALPHABET)


def test_any_model_where_the_site_allows_it(front: FrontProcess, lenient: FrontProcess) -> None:
    answer = lenient.post(CHAT, chat(model="claude"))
    assert (answer.status_code, answer.json()["model"]) == (200, "claude")
    refused = front.post(CHAT, chat(model="claude"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_unknown_fields_where_the_site_lets_them_through(front: FrontProcess, lenient: FrontProcess) -> None:
    answer = lenient.post(CHAT, chat(first=1, second=None, metadata={}))
    assert (answer.status_code, answer.headers[IGNORED]) == (200, "first, second")
    refused = front.post(CHAT, chat(first=1))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "first")
    assert IGNORED not in lenient.post(CHAT, chat(metadata={})).headers
    # What would change the answer is refused there too.
    assert lenient.post(CHAT, chat(mirostat=2)).json()["error"]["code"] == "unsupported_parameter"


def test_a_name_of_any_characters_cannot_break_a_header(lenient: FrontProcess) -> None:
    answer = lenient.post(CHAT, json.dumps(chat() | {"a\r\nx: y\u20ac": 1}).encode())
    assert (answer.status_code, "x" in answer.headers) == (200, False)
    assert answer.headers[IGNORED] == "a\\r\\nx: y\\u20ac"


@pytest.mark.parametrize("name", ["LEVIATHAN_ANY_MODEL", "LEVIATHAN_UNKNOWN_FIELDS"])
def test_a_setting_of_another_value_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        limits({name: "maybe"})
    assert not limits({}).any_model
    assert not limits({}).ignore_unknown
