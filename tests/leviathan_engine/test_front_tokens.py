"""/tokenize, /detokenize and /apply-template, with the bodies of vLLM and of llama.cpp."""

from typing import Any

import pytest
from front_process import FrontProcess

HELLO = [{"role": "user", "content": "hi"}]


def answer(front: FrontProcess, path: str, body: Any) -> Any:
    response = front.post(path, body)
    assert response.status_code == 200, response.text
    return response.json()


def test_there_and_back(front: FrontProcess) -> None:
    found = answer(front, "/tokenize", {"model": "letters", "prompt": "h\u00e9"})
    assert (found["count"], found["max_model_len"], len(found["tokens"])) == (3, 450, 3)
    back = answer(front, "/detokenize", {"tokens": found["tokens"]})
    assert back == {"prompt": "h\u00e9", "content": "h\u00e9"}


def test_llama_cpps_body(front: FrontProcess) -> None:
    found = answer(front, "/tokenize", {"content": "ab", "with_pieces": True})
    assert [token["piece"] for token in found["tokens"]] == ["a", "b"]


def test_messages(front: FrontProcess) -> None:
    """As many tokens as the chat's prompt has, and the text that the template makes."""
    found = answer(front, "/tokenize", {"messages": HELLO, "return_token_strs": True})
    assert found["token_strs"] == ["<bos>", "<user>", "h", "i", "<assistant>"]
    chat = front.post("/v1/chat/completions", {"model": "letters", "messages": HELLO, "max_tokens": 1}).json()
    assert chat["usage"]["prompt_tokens"] == found["count"] == 5
    assert answer(front, "/apply-template", {"messages": HELLO}) == {"prompt": "<bos><user>hi<assistant>"}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/tokenize", {}, 400, "expected prompt, content or messages"),
        ("/tokenize", [], 400, "expected a JSON object"),
        ("/tokenize", {"prompt": "x" * 451}, 400, "451 tokens, at most 450"),
        ("/tokenize", {"prompt": "x", "model": "other"}, 404, "does not exist"),
        ("/detokenize", {"tokens": [1 << 30]}, 400, "below"),
        ("/detokenize", {"tokens": ["a"]}, 400, "tokens[0]"),
        ("/apply-template", {"messages": []}, 400, "messages is empty"),
        ("/apply-template", b"{", 400, "JSON"),
    ],
)
def test_wrong_bodies(front: FrontProcess, path: str, body: Any, status: int, says: str) -> None:
    response = front.post(path, body)
    assert (response.status_code, says in response.json()["error"]["message"]) == (status, True), response.text
