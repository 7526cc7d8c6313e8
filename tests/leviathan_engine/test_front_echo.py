"""Log probabilities of a prompt with `echo` and in vLLM's `prompt_logprobs`: their form, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from deepseek_templates import prompts
from front_process import ALPHABET, FrontProcess, prompt_token
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from leviathan_engine import wire
from leviathan_engine.front import json_response
from leviathan_engine.front.generation.echo import Echo
from leviathan_engine.front.generation.events import PromptDelta, PromptToken
from leviathan_engine.front.generation.planned import MOST_NAMED, Planned
from leviathan_engine.front.generation.request import GenerationRequest, Sampling, TextPrompt, TokenPrompt
from leviathan_engine.front.json_response import dumps, dumps_long

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
PROMPT = "hello w\u00f6rld"
SIZE = len(PROMPT.encode())  # one token a byte


@pytest.fixture(autouse=True)
def as_usual(front: FrontProcess) -> Iterator[None]:
    """What a test tells the letters, the next one does not hear."""
    yield
    front.letters.chunks = 1
    front.letters.says("")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """A front whose model has a large context."""
    process = FrontProcess(tmp_path_factory.mktemp("large"))
    process.serve(cache_lens=200_000, max_prompt=150_000)
    yield process
    process.close()


def tokenizer(front: FrontProcess) -> Tokenizer:
    return Tokenizer.from_file(str(front.folder / "tokenizer.json"))


def ids(front: FrontProcess, text: str = PROMPT) -> list[int]:
    return list(tokenizer(front).encode(text, add_special_tokens=False).ids)


def body(**changes: Any) -> dict[str, Any]:
    return {"prompt": PROMPT, "echo": True, "logprobs": 2, "temperature": 0, "max_tokens": 2} | changes


def chunks(front: FrontProcess, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks of a stream."""
    answer = front.post(TEXT, asked | {"stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


def joined(parts: list[dict[str, Any]], index: int = 0) -> tuple[str, dict[str, list[Any]], Any]:
    """Text, log probabilities and finish reason of a choice, from its chunks."""
    mine = [choice for part in parts for choice in part["choices"] if choice["index"] == index]
    found: dict[str, list[Any]] = {}
    for choice in mine:
        for name, values in (choice["logprobs"] or {}).items():
            found.setdefault(name, []).extend(values)
    return "".join(choice["text"] for choice in mine), found, mine[-1]["finish_reason"]


def answered(front: FrontProcess, stream: bool, asked: dict[str, Any]) -> tuple[str, Any, Any]:
    """Text, log probabilities and finish reason of the first choice, streamed or not."""
    if stream:
        return joined(chunks(front, asked))
    choice = front.post(TEXT, asked).json()["choices"][0]
    return choice["text"], choice["logprobs"], choice["finish_reason"]


def said(front: FrontProcess, answer: int = 2, most: int = 2) -> dict[str, list[Any]]:
    """What must be said of PROMPT and of an answer of `answer` letters. The first byte of the \u00f6 is token 7."""
    decode = tokenizer(front).decode
    named = [prompt_token(token, most) for token in ids(front)]
    tops = [{decode([i]): p for i, p in one.top} for one in named]
    letters = [{decode([i]): -0.5 - i for i in range(most)} for _ in range(answer)]
    return {
        "tokens": [*"hello w", "\ufffd", "\ufffd", *"rld", *ALPHABET[:answer]],
        "token_logprobs": [None, *(one.logprob for one in named[1:]), *[-0.5] * answer],
        "top_logprobs": [None, *tops[1:], *letters],
        "text_offset": [*range(7), 7, 7, 8, 9, 10, *range(11, 11 + answer)],
    }


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", ["text", "ids"])
def test_the_prompt_is_named_before_the_answer(front: FrontProcess, prompt: str, stream: bool, parts: int) -> None:
    front.letters.chunks = parts
    asked = body(prompt=PROMPT if prompt == "text" else ids(front))
    assert answered(front, stream, asked) == (PROMPT + "ab", said(front), "length")
    job = front.letters.jobs[-1]
    assert dict(job.sampling) == {"logprobs": 2, "end_logprob": True, "prompt_logprobs": 2}


def test_a_stream_names_tokens_as_they_are_read(front: FrontProcess) -> None:
    """The text at once, with the first token; then a chunk for each part; then the answer."""
    front.letters.chunks = 4
    came = [part["choices"][0] for part in chunks(front, body())]
    assert [choice["text"] for choice in came[:7]] == [PROMPT, "", "", "", "", "a", "b"]
    assert [len(choice["logprobs"]["tokens"]) for choice in came[:7]] == [1, 3, 3, 3, 2, 1, 1]
    assert {choice["finish_reason"] for choice in came[:-1]} == {None}


@pytest.mark.parametrize("stream", [False, True])
def test_without_an_answer(front: FrontProcess, stream: bool) -> None:
    assert answered(front, stream, body(max_tokens=0)) == (PROMPT, said(front, 0), "length")
    assert front.letters.jobs[-1].max_tokens == 0
    assert "prompt_logprobs" in front.letters.jobs[-1].sampling


def test_text_alone_needs_no_engine(front: FrontProcess) -> None:
    before = len(front.letters.jobs)
    answer = front.post(TEXT, body(max_tokens=0, logprobs=None, n=2)).json()
    assert [(one["text"], one["logprobs"]) for one in answer["choices"]] == [(PROMPT, None)] * 2
    assert answer["usage"]["completion_tokens"] == 0
    assert joined(chunks(front, body(max_tokens=0, logprobs=None))) == (PROMPT, {}, "length")
    assert len(front.letters.jobs) == before


@pytest.mark.parametrize("stream", [False, True])
def test_choices_and_prompts(front: FrontProcess, stream: bool) -> None:
    """A prompt is named by the engine once; every choice of it says all of it."""
    before = len(front.letters.jobs)
    asked = body(prompt=[PROMPT, "xy"], n=2, seed=3, temperature=1)
    if stream:
        came = chunks(front, asked)
        choices = [joined(came, index)[:2] for index in range(4)]
    else:
        choices = [(one["text"], one["logprobs"]) for one in front.post(TEXT, asked).json()["choices"]]
    jobs = front.letters.jobs[before:]
    assert [job.sampling.get("prompt_logprobs") for job in jobs] == [2, None, 2, None]
    for text, found in choices[:2]:
        assert text.startswith(PROMPT)
        assert {name: values[:-2] for name, values in found.items()} == said(front, 0)
        assert [len(values) for values in found.values()] == [SIZE + 2] * 4
    assert choices[0][0] != choices[1][0]
    for text, found in choices[2:]:
        assert (text[:2], found["tokens"][:2], found["text_offset"]) == ("xy", ["x", "y"], [0, 1, 2, 3])
        assert found["token_logprobs"][:2] == [None, -ids(front, "y")[0] / 4]


def test_best_of_ranks_by_the_answer(front: FrontProcess) -> None:
    found = front.post(TEXT, body(best_of=3, seed=5, temperature=1)).json()["choices"]
    assert [len(one["logprobs"]["tokens"]) for one in found] == [SIZE + 2]
    assert found[0]["logprobs"]["token_logprobs"][0] is None


@pytest.mark.parametrize("stream", [False, True])
def test_the_token_that_ends_the_answer_is_named(front: FrontProcess, stream: bool) -> None:
    """Without echo it is not."""
    front.letters.says("z")
    text, found, finish = answered(front, stream, body(max_tokens=5))
    assert (text, finish) == (PROMPT + "z", "stop")
    assert found["tokens"][-2:] == ["z", "<eos>"]
    assert found["token_logprobs"][-2:] == [-0.5, -0.25]
    assert found["text_offset"][-2:] == [len(PROMPT), len(PROMPT) + 1]
    _, plain, _ = answered(front, stream, body(max_tokens=5, echo=False))
    assert plain["tokens"] == ["z"]


@pytest.mark.parametrize("ends", [False, True])
def test_lm_evaluation_harness(front: FrontProcess, ends: bool) -> None:
    """Its request and its arithmetic (lm_eval/models/openai_completions.py): it leaves out the last entry as the token
    that was generated, also if the model ends the answer at once."""
    context, whole = ids(front, "hel"), ids(front)
    if ends:
        front.letters.ids = []
    asked = {"model": "letters", "prompt": [whole], "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234}
    answer = front.post(TEXT, asked | {"echo": True}).json()
    choice = answer["choices"][0]
    assert (choice["finish_reason"], choice["text"]) == (("stop", PROMPT) if ends else ("length", PROMPT + "a"))
    assert answer["usage"]["completion_tokens"] == (0 if ends else 1)
    rest = choice["logprobs"]["token_logprobs"][len(context) : -1]
    assert sum(rest) == sum(-token / 4 for token in whole[len(context) :])
    tops = choice["logprobs"]["top_logprobs"][len(context) : -1]
    assert [max(top.values()) for top in tops] == [-1.0] * len(rest)


def test_an_openai_client_reads_it(front: FrontProcess) -> None:
    client = openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0)
    asked: dict[str, Any] = {"model": "letters", "prompt": "ab", "echo": True, "logprobs": 0, "max_tokens": 0}
    found = client.completions.create(**asked).choices[0].logprobs
    assert found.tokens == ["a", "b"]
    assert found.token_logprobs == [None, -ids(front, "b")[0] / 4]
    assert found.top_logprobs == [None, {}]
    assert found.text_offset == [0, 1]


def test_vllms_field(front: FrontProcess) -> None:
    """The token itself, then the most likely ones; next to `echo`, each with its own number of them."""
    decode, own = tokenizer(front).decode, ids(front)

    def entry(token: int, logprob: float, rank: int) -> dict[str, Any]:
        return {"logprob": logprob, "rank": rank, "decoded_token": decode([token])}

    ways: list[dict[str, Any]] = [{"echo": False, "logprobs": None}, {"logprobs": 1}, {"max_tokens": 0, "echo": False}]
    for changes in ways:
        choice = front.post(TEXT, body(prompt_logprobs=2, **changes)).json()["choices"][0]
        named = choice["prompt_logprobs"]
        assert named[0] is None
        assert named[1:] == [
            {str(token): entry(token, -token / 4, 2), "0": entry(0, -1.0, 1), "1": entry(1, -2.0, 2)}
            for token in own[1:]
        ]
        assert list(named[1]) == [str(own[1]), "0", "1"]
        assert front.letters.jobs[-1].sampling["prompt_logprobs"] == 2
    echoed = front.post(TEXT, body(prompt_logprobs=2, logprobs=1)).json()["choices"][0]["logprobs"]
    assert {len(top) for top in echoed["top_logprobs"][1:]} == {1}
    assert "prompt_logprobs" not in front.post(TEXT, body()).json()["choices"][0]
    # A most likely token that is the prompt's is not named twice.
    both = front.post(TEXT, body(prompt=[5, 0, 1], prompt_logprobs=2)).json()["choices"][0]["prompt_logprobs"]
    assert [list(one) for one in both[1:]] == [["0", "1"], ["1", "0"]]


WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    (TEXT, {"echo": True, "logprobs": 1, "suffix": "b"}, "suffix is not supported together with echo", "suffix"),
    (TEXT, {"prompt_logprobs": 1, "stream": True}, "prompt_logprobs is not supported with stream", "prompt_logprobs"),
    (TEXT, {"prompt_logprobs": 21}, "prompt_logprobs: expected at most 20, got 21", "prompt_logprobs"),
    (TEXT, {"prompt_logprobs": -1}, "prompt_logprobs: expected at least 0, got -1", "prompt_logprobs"),
    (TEXT, {"max_tokens": 0}, "max_tokens: expected -1 or at least 1, got 0, which needs echo", "max_tokens"),
    (TEXT, {"max_tokens": 0, "logprobs": 1}, "max_tokens: expected -1 or at least 1, got 0", "max_tokens"),
    (TEXT, {"max_tokens": -2, "echo": True}, "max_tokens: expected at least -1, got -2", "max_tokens"),
    (CHAT, {"max_tokens": 0}, "max_tokens: expected -1 or at least 1, got 0", "max_tokens"),
    (CHAT, {"prompt_logprobs": 1}, "prompt_logprobs is not supported", "prompt_logprobs"),
    (CHAT, {"echo": True, "logprobs": True}, "echo is not supported", "echo"),
]


@pytest.mark.parametrize(("path", "changes", "says", "param"), WRONG)
def test_what_is_refused(front: FrontProcess, path: str, changes: dict[str, Any], says: str, param: str) -> None:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]} if path == CHAT else {"prompt": "ab"}
    refused = front.post(path, asked | changes)
    assert refused.status_code == 400
    assert says in refused.json()["error"]["message"]
    assert refused.json()["error"]["param"] == param


@pytest.mark.parametrize("field", ["logprobs", "prompt_logprobs"])
def test_too_many_are_refused_before_the_prompt_is_read(large: FrontProcess, field: str) -> None:
    """Of all prompts and choices together. The control: as many as are allowed."""
    before = len(large.letters.jobs)
    count = MOST_NAMED // 4
    asked = {"prompt": [5] * count, "max_tokens": 0, "echo": True, field: 3}
    refused = large.post(TEXT, {**asked, "prompt": [[5] * count, [5]]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
    assert f"{count + 1} tokens of prompts, each with 3 most likely" in refused.json()["error"]["message"]
    assert large.post(TEXT, {**asked, "n": 2}).status_code == 400
    assert len(large.letters.jobs) == before
    answer = large.post(TEXT, asked)
    assert answer.status_code == 200
    choice = answer.json()["choices"][0]
    named = choice["prompt_logprobs"] if field == "prompt_logprobs" else choice["logprobs"]["token_logprobs"]
    assert len(named) == count


@given(
    st.recursive(
        st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.lists(st.integers(), max_size=9),
        lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=30,
    )
)
def test_a_long_body_is_written_as_any_other(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_response, "PIECE", 2)
        assert dumps_long(value) == dumps(value)


@pytest.mark.parametrize("kind", ["text", "ids"])
def test_places_are_those_of_the_text(tmp_path: Path, kind: str) -> None:
    """DeepSeek's tokenizer: a first token that the text does not have, special tokens in a text, characters of several
    tokens, ids with special tokens that the echo leaves out."""
    v3 = prompts("V3", tmp_path)
    special = "<\uff5cend\u2581of\u2581sentence\uff5c>"
    text = f"Stra\u00dfe \U0001f9ff\u4f60\u597d \u0915\u094d\u0937 {special}ok"
    assert v3.first is not None
    own = [v3.first, *v3.text_ids(text, 99)]
    assert [one for one in own if v3.special(one)] == [v3.first, v3.token_id(special)]
    asked = GenerationRequest((TextPrompt(text),), "prompt", sampling=Sampling(logprobs=0), echo=True)
    prompt = TextPrompt(text) if kind == "text" else TokenPrompt(tuple(own))
    echo = Echo(v3, asked, Planned(prompt, None, None, wire.Job("a", tuple(own), 1, 0.0, 1.0, None, ())))
    (begin,) = echo.begin(0)
    assert isinstance(begin, PromptDelta)
    assert begin.echo == (text if kind == "text" else text.replace(special, ""))
    rest = tuple(wire.PromptToken(token, -1.0, 1, ()) for token in own[1:])
    tokens: list[PromptToken] = [*begin.tokens, *echo.more(0, wire.PromptLogprobs("a", rest)).tokens]
    assert (tokens[0].logprob, tokens[0].place, tokens[1].place) == (None, 0, 0)
    assert [one.place for one in tokens] == sorted(one.place for one in tokens)
    broken = [one for one in tokens if "\ufffd" in one.text]
    shown = [one for one in tokens[1:] if one not in broken and not (kind == "ids" and one.text == special)]
    assert len(broken) > 1, "the control: there are characters of several tokens"
    assert shown[-1].text == "ok"
    for one in shown:
        assert begin.echo[one.place :].startswith(one.text)
