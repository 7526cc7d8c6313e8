"""Whatever a client sends is answered, in time, and never with a 5xx."""

import http.client
import json
from typing import Any

from front_process import FrontProcess
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECONDS = 30
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROLE = st.sampled_from(["user", "assistant", "system", "developer", "tool", "", 1, None])
PART = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url"]), "text": st.text(max_size=10) | JSON})
CONTENT = st.text(max_size=30) | JSON | st.lists(PART, max_size=3)
MESSAGE = st.fixed_dictionaries({"role": ROLE, "content": CONTENT}) | JSON
FIELDS = {
    "temperature": st.floats(-1, 3) | JSON,
    "top_p": st.floats(-1, 2) | JSON,
    "max_tokens": st.integers(-2, 200) | JSON,
    "max_completion_tokens": st.integers(-2, 200) | JSON,
    "stop": st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=3) | JSON,
    "seed": st.integers() | JSON,
    "stream": st.booleans() | JSON,
    "stream_options": st.fixed_dictionaries({"include_usage": st.booleans() | JSON}) | JSON,
    "n": st.integers(0, 2) | JSON,
    "echo": st.booleans() | JSON,
    "tools": JSON,
    "logprobs": st.integers(-1, 3) | JSON,
    "prompt_logprobs": st.integers(-1, 3) | JSON,
    "response_format": JSON,
}
MODEL = st.just("letters") | JSON
CHATS = st.fixed_dictionaries({"model": MODEL, "messages": st.lists(MESSAGE, max_size=4) | JSON}, optional=FIELDS)
TEXTS = st.fixed_dictionaries(
    {"model": MODEL, "prompt": st.text(max_size=40) | st.lists(st.integers(-1, 300), max_size=9) | JSON},
    optional=FIELDS,
)


def send(front: FrontProcess, path: str, raw: bytes) -> int:
    """The status; the whole answer has come and is what its type says."""
    connection = http.client.HTTPConnection("127.0.0.1", int(front.url.rsplit(":", 1)[1]), timeout=SECONDS)
    connection.request("POST", path, raw)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.getheader("content-type", "").startswith("text/event-stream"):
        assert text.endswith("data: [DONE]\n\n")
    else:
        assert ("error" in json.loads(text)) == (answer.status != 200)
    assert answer.status < 500, text
    return answer.status


@FUZZ
@given(body=CHATS)
def test_chats(front: FrontProcess, body: Any) -> None:
    send(front, "/v1/chat/completions", json.dumps(body).encode())


@FUZZ
@given(body=TEXTS)
def test_completions(front: FrontProcess, body: Any) -> None:
    send(front, "/v1/completions", json.dumps(body).encode())


@FUZZ
@given(raw=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()[:-1]))
def test_raw_bodies(front: FrontProcess, raw: bytes) -> None:
    assert send(front, "/v1/chat/completions", raw) == 400


def test_the_fuzzed_server_still_answers(front: FrontProcess) -> None:
    """The control: a plain request is a 200 here."""
    body = {"model": "letters", "messages": [{"role": "user", "content": "x"}]}
    assert send(front, "/v1/chat/completions", json.dumps(body).encode()) == 200
