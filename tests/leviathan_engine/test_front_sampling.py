"""The sampling fields of a request as they reach the engine, several choices, and log probabilities in both forms."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from deepseek_templates import prompts
from front_process import ALPHABET, FrontProcess

from leviathan_engine.front.generation.best import best
from leviathan_engine.front.generation.events import Choice, TokenLogprob
from leviathan_engine.front.generation.request import GenerationRequest, TextPrompt
from leviathan_engine.front.openai.logprobs import completion_logprobs

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def sent(front: FrontProcess, path: str = CHAT, **changes: Any) -> Any:
    """The job that a request becomes."""
    body = {"messages": HELLO} if path == CHAT else {"prompt": "ab"}
    answer = front.post(path, body | {"temperature": 0, "max_tokens": 2} | changes)
    assert answer.status_code == 200, answer.text
    return front.letters.jobs[-1]


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"top_k": 40}, {"top_k": 40}),
    ({"top_k": -1, "min_p": 0, "typical_p": 1.0, "repetition_penalty": 1}, {}),
    ({"min_p": 0.05, "typical_p": 0.9}, {"min_p": 0.05, "typical_p": 0.9}),
    ({"presence_penalty": 0.5, "frequency_penalty": -0.5}, {"presence_penalty": 0.5, "frequency_penalty": -0.5}),
    ({"repeat_penalty": 1.1}, {"repetition_penalty": 1.1}),
    ({"logit_bias": {"5": -100, "7": 1.5}}, {"logit_bias": [[5, -100.0], [7, 1.5]]}),
    ({"min_tokens": 3}, {"min_tokens": 3}),
]


@pytest.mark.parametrize(("fields", "options"), OPTIONS)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_fields_reach_the_engine(
    front: FrontProcess, path: str, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    assert dict(sent(front, path, **fields).sampling) == options


def test_the_tokens_that_end_an_answer(front: FrontProcess) -> None:
    own = sent(front).eos
    assert sent(front, stop_token_ids=[5]).eos == (*own, 5)
    assert sent(front, stop_token_ids=[5], ignore_eos=True).eos == (5,)
    assert sent(front, ignore_eos=True).eos == ()


@pytest.mark.parametrize("field", [{"logit_bias": {"99999": 1}}, {"stop_token_ids": [99999]}])
def test_a_token_that_the_model_does_not_have_is_refused(front: FrontProcess, field: dict[str, Any]) -> None:
    refused = front.post(CHAT, {"messages": HELLO} | field)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, next(iter(field)))


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_have_seeds_of_their_own(front: FrontProcess, stream: bool) -> None:
    before = len(front.letters.jobs)
    asked = {"messages": HELLO, "n": 3, "seed": 7, "temperature": 1, "max_tokens": 5, "stream": stream}
    answer = front.post(CHAT, asked)
    assert [job.seed for job in front.letters.jobs[before:]] == [7, 8, 9]
    if not stream:
        choices = answer.json()["choices"]
        assert [choice["index"] for choice in choices] == [0, 1, 2]
        assert len({choice["message"]["content"] for choice in choices}) == 3
        assert answer.json()["usage"] == {
            "prompt_tokens": 8,
            "completion_tokens": 15,
            "total_tokens": 23,
        } | {key: value for key, value in answer.json()["usage"].items() if key.endswith("details")}
        return
    bodies = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    ends = [choice["index"] for body in bodies for choice in body["choices"] if choice["finish_reason"]]
    assert ends == [0, 1, 2]


def test_a_list_of_prompts(front: FrontProcess) -> None:
    before = len(front.letters.jobs)
    answer = front.post(TEXT, {"prompt": ["ab", "c"], "n": 2, "temperature": 0, "max_tokens": 3, "echo": True}).json()
    assert [choice["text"] for choice in answer["choices"]] == ["ababc", "ababc", "cabc", "cabc"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert len(front.letters.jobs) - before == 4
    ids = front.post(TEXT, {"prompt": [[1, 2], [3]], "temperature": 0, "max_tokens": 3}).json()
    assert [choice["text"] for choice in ids["choices"]] == ["abc", "abc"]


def test_log_probabilities_of_a_chat(front: FrontProcess) -> None:
    client = openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0)
    asked: dict[str, Any] = {"model": "letters", "messages": HELLO, "temperature": 0, "max_tokens": 3}
    answer = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
    content = answer.choices[0].logprobs.content
    assert [(one.token, one.logprob, one.bytes) for one in content] == [
        (letter, -0.5, [ord(letter)]) for letter in ALPHABET[:3]
    ]
    assert [len(one.top_logprobs) for one in content] == [2, 2, 2]
    assert [other.logprob for other in content[0].top_logprobs] == [-0.5, -1.5]
    stream = client.chat.completions.create(**asked, logprobs=True, stream=True)
    seen = [one.token for chunk in stream for c in chunk.choices if c.logprobs for one in c.logprobs.content]
    assert seen == [*ALPHABET[:3]]
    assert client.chat.completions.create(**asked).choices[0].logprobs is None


def test_log_probabilities_of_a_completion(front: FrontProcess) -> None:
    client = openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0)
    answer = client.completions.create(model="letters", prompt="x", temperature=0, max_tokens=3, logprobs=1)
    found = answer.choices[0].logprobs
    assert (found.tokens, found.token_logprobs, found.text_offset) == ([*"abc"], [-0.5] * 3, [0, 1, 2])
    assert [len(top) for top in found.top_logprobs] == [1, 1, 1]


def test_tokens_of_one_text_are_named_with_the_likeliest() -> None:
    """Parts of characters are all shown as U+FFFD."""
    top = tuple(TokenLogprob("\ufffd", bytes([byte]), logprob) for byte, logprob in ((0xE2, -0.1), (0xC3, -3.0)))
    found = completion_logprobs([TokenLogprob("\ufffd", b"\xe2", -0.1, top)], 0)
    assert found["top_logprobs"] == [{"\ufffd": -0.1}]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"n": 0}, "n: expected at least 1"),
    (CHAT, {"top_logprobs": 3}, "needs logprobs"),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "at most 20"),
    (CHAT, {"logit_bias": {"a": 1}}, "logit_bias"),
    (CHAT, {"presence_penalty": 3}, "presence_penalty: expected at most 2"),
    (CHAT, {"repetition_penalty": 1e-30}, "repetition_penalty: expected at least 0.01"),
    (CHAT, {"repeat_penalty": 0}, "repeat_penalty: expected at least 0.01"),
    (TEXT, {"best_of": 2, "n": 3}, "best_of: expected at least n (3), got 2"),
    (TEXT, {"best_of": 2, "stream": True}, "best_of above n is not supported with stream"),
    (TEXT, {"suffix": "b"}, "suffix: this model has no tokens for it"),
    (TEXT, {"suffix": "b", "prompt": [5]}, "suffix: expected a prompt of text"),
]


@pytest.mark.parametrize(("path", "changes", "says"), WRONG)
def test_wrong_values(front: FrontProcess, path: str, changes: dict[str, Any], says: str) -> None:
    body = {"messages": HELLO} if path == CHAT else {"prompt": "ab"}
    refused = front.post(path, body | changes)
    assert refused.status_code == 400
    assert says in refused.json()["error"]["message"]


def test_best_of(front: FrontProcess) -> None:
    """All are generated and counted, some are given."""
    before = len(front.letters.jobs)
    body = {"prompt": ["ab", "cd"], "n": 2, "best_of": 3, "seed": 5, "temperature": 1, "max_tokens": 4}
    answer = front.post(TEXT, body).json()
    jobs = front.letters.jobs[before:]
    assert [(job.seed, job.sampling["logprobs"]) for job in jobs] == [(seed, 0) for seed in (5, 6, 7)] * 2
    assert [(choice["index"], choice["logprobs"]) for choice in answer["choices"]] == [(i, None) for i in range(4)]
    assert answer["usage"] == answer["usage"] | {"prompt_tokens": 4, "completion_tokens": 24}
    named = front.post(TEXT, body | {"logprobs": 1}).json()["choices"]
    assert [len(choice["logprobs"]["tokens"]) for choice in named] == [4] * 4


def test_the_best_are_those_of_the_likeliest_tokens() -> None:
    def choice(index: int, *logprobs: float) -> Choice:
        return Choice(index, str(index), tokens=[TokenLogprob("a", b"a", one, ()) for one in logprobs])

    request = GenerationRequest((TextPrompt("a"), TextPrompt("b")), "prompt", n=2, best_of=3)
    choices = [choice(0, -3, -1), choice(1, -1.5), choice(2, -9), choice(3), choice(4, -2, -2), choice(5, 0)]
    assert [(one.index, one.content, one.tokens) for one in best(request, choices)] == [
        (0, "1", []),
        (1, "0", []),
        (2, "5", []),
        (3, "4", []),
    ]


def test_between_two_texts(tmp_path: Path) -> None:
    """DeepSeek's own tokens; the answer stands where the hole is."""
    v3 = prompts("V3", tmp_path)
    begin, hole, end = (v3.token_id(f"<\uff5cfim\u2581{name}\uff5c>") for name in ("begin", "hole", "end"))
    before, after = v3.plain_ids("def f(", 99), v3.plain_ids("):\n    return 1", 99)
    bos = v3.text_ids("", 9)
    assert v3.between_ids("def f(", "):\n    return 1", 99) == [*bos, begin, *before, hole, *after, end]
    assert None not in (begin, hole, end)
