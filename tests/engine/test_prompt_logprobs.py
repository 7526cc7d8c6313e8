"""Log probabilities of a prompt's tokens are those of plain torch, chunked or not, also if a prefix is cached.

The real engine on the CPU, in a process of its own (this file as a script), which prints what it saw. There are two
references: DeepSeek-V3 in plain torch and 32-bit floats straight from the GGUF, all positions at once; and teacher
forcing with the engine itself: every prefix of the prompt as an ordinary prompt of its own.
"""

import json
import os
import statistics
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from engine_process import of_models

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")
    if __name__ != "__main__":
        pytest.importorskip("ktransformers")

import rounding
import torch

from leviathan_engine.errors import EngineError
from leviathan_engine.plan.vram import HEAD_ROWS
from leviathan_engine.wire import MESSAGE_LOGPROBS, Chosen, Job, PromptLogprobs, PromptToken
from leviathan_engine.worker.model_changes import lighten
from leviathan_engine.worker.prompt_logprobs import head_inputs, token_logprobs

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "gpu"))
# More than one block of lm_head's, so that the last block is not full.
PROMPT, TOP, TOKENS = HEAD_ROWS + 70, 3, 2
# Tokens that are compared with a prompt of their own: both ends of pages, of chunks and of lm_head's blocks.
PLACES = sorted({1, 2, 63, 64, 65, HEAD_ROWS, HEAD_ROWS + 1, PROMPT - 2, PROMPT - 1, *range(9, PROMPT, 10)})
# As docs/gpu.md has them: an error of the logits as a share of their spread, and how near two tokens may be.
LOGITS_ERROR, NEAR = 5e-2, 0.1
# How many times plain torch is disturbed, to see what rounding does.
DRAWS = 4
WAYS = ["whole", "chunks", "after a cached prefix", "again", "parked"]


class Head(torch.nn.Module):
    """A model of lm_head alone, as `lighten` changes it."""

    def __init__(self, hidden: int = 16, vocabulary: int = 40) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.lm_head = torch.nn.Linear(hidden, vocabulary, bias=False)
        self.model = torch.nn.Module()
        self.model.orig_module = torch.nn.Module()
        lighten(self)


def by_torch(logits: torch.Tensor, following: Sequence[int], most: int) -> list[PromptToken]:
    """The reference, row by row, in float64."""
    out = []
    for row, token in zip(logits.double(), following, strict=True):
        logs = row - torch.logsumexp(row, 0)
        order = sorted(range(len(logs)), key=lambda i: -float(logs[i]))
        top = tuple((i, pytest.approx(float(logs[i]), abs=1e-5)) for i in order[:most])
        out.append(PromptToken(token, pytest.approx(float(logs[token]), abs=1e-5), order.index(token) + 1, top))
    return out


@pytest.mark.parametrize("positions", [1, HEAD_ROWS - 1, HEAD_ROWS, 2 * HEAD_ROWS + 5])
@pytest.mark.parametrize("most", [0, 4, 40, 99])
@pytest.mark.parametrize("blocks", [False, True])
@torch.no_grad()
def test_lm_head_in_blocks(positions: int, most: int, blocks: bool) -> None:
    """The last position of a prompt has no token after it. A head that reads GGUF blocks has an empty weight."""
    chance = torch.Generator().manual_seed(positions)
    model = Head()
    hidden = torch.randn(1, positions + 1, 16, generator=chance)
    following = torch.randint(40, (positions,), generator=chance).tolist()
    right = hidden[0] @ model.lm_head.weight.T
    shapes: list[int] = []
    if blocks:
        weight, model.lm_head.weight = model.lm_head.weight, torch.nn.Parameter(torch.empty(0))
        model.lm_head.forward = lambda x: shapes.append(len(x)) or x @ weight.T
    else:
        plain = model.lm_head.forward
        model.lm_head.forward = lambda x: shapes.append(len(x)) or plain(x)
    with head_inputs(model.lm_head) as seen:
        last = model.lm_head(hidden)
    assert torch.equal(last, hidden[:, -1:] @ (weight if blocks else model.lm_head.weight).T)
    checks: list[int] = []
    shapes.clear()
    tokens = list(token_logprobs(model.lm_head, seen[0][0], following, most, lambda: checks.append(0)))
    assert tokens == by_torch(right[:-1], following, most)
    assert max(shapes) <= (1 if blocks else HEAD_ROWS)
    assert len(checks) == -(-positions // HEAD_ROWS)
    assert model.lm_head(hidden).shape == (1, 1, 40), "the hook of other prompts is left"


def test_logits_that_are_not_numbers_are_an_error() -> None:
    """JSON has no NaN, and a number in its place would be a wrong result."""
    model, hidden = Head(), torch.zeros(3, 16)
    assert len(list(token_logprobs(model.lm_head, hidden, [1, 2, 3], 1, int))) == 3
    hidden[1, 5] = torch.nan
    with pytest.raises(EngineError, match="not numbers"):
        list(token_logprobs(model.lm_head, hidden, [1, 2, 3], 1, int))


class Talk:
    """Prompts over a cache of `pages` pages, read in chunks of `chunk` tokens, through the engine's own loop."""

    def __init__(self, engine: Any, chunk: int, pages: int = 16) -> None:
        cache = import_module("leviathan_operators.cache").PrefixCache
        kept = import_module("leviathan_engine.worker.kept").Kept(1 << 30)
        engine._prefixes = cache(pages, engine._cache, kept.pages(engine._cache.page_bytes))
        engine._answers.__init__()
        engine._chunk = chunk
        self.engine = engine

    def answer(self, ids: Sequence[int], tokens: int = TOKENS, eos: Sequence[int] = (), **options: Any) -> Any:
        """The answer's tokens, the prompt's log probabilities, the sizes of messages, and the progress."""
        job = Job("x", tuple(ids), tokens, 0.0, 1.0, None, tuple(eos), sampling=options)
        named: list[PromptToken] = []
        sizes, read, order = [], [], []

        def hear(event: Any) -> None:
            order.append(type(event).__name__)
            if isinstance(event, PromptLogprobs):
                named.extend(event.tokens)
                sizes.append(len(event.tokens))
            else:
                read.append((event.cached, event.done))

        answer = self.engine.tokens(job, progress=hear)
        chosen = [token for _, token in zip(range(tokens or 99), answer, strict=False)]
        answer.close()
        return chosen, named, sizes, read, order

    def last_logits(self, ids: Sequence[int]) -> torch.Tensor:
        """The reference: the logits after a prompt that is read whole, as any other."""
        generation = import_module("leviathan_engine.worker.generation").Generation
        one = generation(self.engine, self.engine._prefixes, Job("r", tuple(ids), 1, 0.0, 1.0, None, ()), 4096)
        while one.read():
            pass
        logits = one._logits.float().clone()
        one.close()
        return logits


def against(named: Sequence[PromptToken], ids: Sequence[int], right: dict[int, torch.Tensor]) -> dict[str, Any]:
    """The errors of the log probabilities, median and worst, as shares of the right ones' spread; and the rest.

    The most likely tokens are compared by their place and by their id.
    """
    errors, ranks = [], 0
    for place, logits in right.items():
        one, logs = named[place - 1], torch.log_softmax(logits, dim=-1)
        pairs = [(one.logprob, float(logs[one.token]))] + [(mine, float(logs[i])) for i, mine in one.top]
        pairs += [(mine, float(true)) for (_, mine), true in zip(one.top, logs.topk(TOP).values, strict=True)]
        errors += [abs(mine - true) / float(logs.std()) for mine, true in pairs]
        ranks = max(ranks, abs(one.rank - 1 - int((logs > logs[one.token]).sum())))
    return {
        "median": statistics.median(errors),
        "worst": max(errors),
        "ranks": ranks,
        "tokens": [one.token for one in named] == list(ids[1:]),
        "tops": sorted({len(one.top) for one in named}),
    }


def see(engine: Any, gguf: Path) -> dict[str, Any]:
    """Each way to read the prompt, against the reference."""
    ids = import_module("test_conversations").ids
    prompt, other = ids(1, PROMPT), ids(5, PROMPT)
    talk = Talk(engine, 4096)
    torch.set_default_dtype(torch.float32)  # the loader leaves it at bfloat16
    plain_torch = import_module("reference").Reference(gguf, "cpu", marlin=False)
    everywhere = plain_torch.logits(prompt, 0)
    noisy = [rounding.disturbed(plain_torch, prompt, seed) for seed in range(DRAWS)]
    right = dict(enumerate(everywhere[:-1], 1))
    wrong = dict(enumerate(plain_torch.logits(other, 0)[:-1], 1))
    torch.set_default_dtype(torch.bfloat16)
    own = {place: talk.last_logits(prompt[:place]) for place in PLACES}

    def way(talk: Talk, name: str) -> None:
        chosen, named, sizes, read, _order = talk.answer(prompt, prompt_logprobs=TOP)
        forced = against(named, prompt, own)
        out[name] = {**against(named, prompt, right), "sizes": sizes, "read": read, "answer": chosen, "own": forced}
        out[name]["beyond rounding"] = rounding.beyond(named, everywhere, noisy)

    out: dict[str, Any] = {}
    way(Talk(engine, 4096), "whole")
    way(chunked := Talk(engine, 64), "chunks")
    way(cached := Talk(engine, 4096), "first")
    plain, _, _, read, _ = cached.answer(prompt)  # ordinary, of a cached prompt
    out["plain"] = {"answer": plain, "read": read}
    longer = Talk(engine, 4096)
    longer.answer(prompt[:150])
    way(longer, "after a cached prefix")
    way(longer, "again")
    small = Talk(engine, 4096, pages=5)
    small.answer(prompt)
    small.answer(other[:200])
    way(small, "parked")
    out["used"] = engine._prefixes.used
    # The control: another prompt's log probabilities.
    named = Talk(engine, 4096).answer(prompt, prompt_logprobs=TOP)[1]
    out["control"] = against(named, prompt, wrong)["median"]
    shifted = [*named[1:], named[0]]  # the control: each position's are those of the next
    out["control beyond rounding"] = rounding.beyond(shifted, everywhere, noisy)
    named, sizes, _read, order = chunked.answer(prompt, 0, prompt_logprobs=20)[1:]
    out["no answer"] = {"sizes": sizes, "count": len(named), "last": order[-1]}
    end = out["whole"]["answer"][1]
    ways: list[dict[str, Any]] = [{}, {"logprobs": 1}, {"logprobs": 1, "end_logprob": True}]
    ends = [talk.answer(prompt, 9, [end], **options)[0] for options in ways]
    out["end"] = [[[one.token, one.ends] if isinstance(one, Chosen) else one for one in tokens] for tokens in ends]
    out["one token"] = Talk(engine, 64).answer(prompt[:1], prompt_logprobs=TOP)[1]
    out["cancelled"] = cancelled(engine, prompt)
    return out


def cancelled(engine: Any, prompt: Sequence[int]) -> list[Any]:
    """Is given up between two blocks of lm_head: what came until then, and the error."""
    heard: list[int] = []
    job = Job("x", tuple(prompt), 1, 0.0, 1.0, None, (), sampling={"prompt_logprobs": 0})
    tokens = engine.tokens(job, lambda: bool(heard), lambda e: isinstance(e, PromptLogprobs) and heard.append(1))
    token_count = import_module("leviathan_engine.worker.generation")
    before, token_count.MESSAGE_LOGPROBS = token_count.MESSAGE_LOGPROBS, 100
    try:
        return [len(heard), next(tokens)]
    except import_module("leviathan_engine.worker.session").Cancelled:
        return [len(heard), "cancelled"]
    finally:
        token_count.MESSAGE_LOGPROBS = before
        tokens.close()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return of_models(__file__, tmp_path_factory.mktemp("named"))


@pytest.mark.parametrize("way", WAYS)
def test_they_are_those_of_plain_torch(seen: dict[str, Any], way: str) -> None:
    """Every token after the first, with the most likely ones; another prompt's are far away."""
    found = seen[way]
    assert found["tokens"]
    assert found["tops"] == [TOP]
    assert found["median"] < LOGITS_ERROR
    assert seen["control"] > 10 * LOGITS_ERROR


@pytest.mark.parametrize("way", WAYS)
def test_what_is_off_is_what_rounding_moves(seen: dict[str, Any], way: str) -> None:
    """The tiny model's attention is so sharp that bfloat16 moves some positions 30 times as far as others."""
    ratios = seen[way]["beyond rounding"]
    assert statistics.median(ratios) < 1.5
    assert ratios[-1] < 8
    assert statistics.median(seen["control beyond rounding"]) > 10


@pytest.mark.parametrize("way", WAYS)
def test_each_is_that_of_an_ordinary_prompt(seen: dict[str, Any], way: str) -> None:
    """The engine's own logits of a prompt that ends there agree."""
    own = seen[way]["own"]
    assert own["median"] < LOGITS_ERROR / 10
    assert own["worst"] < NEAR
    assert own["ranks"] <= 8, "of 512 tokens: close ones change places"


def test_nothing_is_reused_and_all_is_read(seen: dict[str, Any]) -> None:
    """The control: the ordinary prompt after it is not read again."""
    for way in (*WAYS, "first"):
        assert seen[way]["read"][0] == [0, 0]
        assert seen[way]["read"][-1] == [0, PROMPT]
        assert seen[way]["answer"] == seen["whole"]["answer"]
    assert seen["plain"] == {"answer": seen["first"]["answer"], "read": [[PROMPT, PROMPT]]}
    assert len(seen["chunks"]["read"]) > len(seen["whole"]["read"])
    assert 0 < seen["used"] <= 5


def test_messages_are_small(seen: dict[str, Any]) -> None:
    size = MESSAGE_LOGPROBS // (1 + TOP)
    assert seen["whole"]["sizes"] == [size] * (PROMPT // size) + [PROMPT % size - 1]
    assert max(seen["no answer"]["sizes"]) == MESSAGE_LOGPROBS // 21
    assert seen["no answer"]["count"] == PROMPT - 1


def test_without_an_answer_nothing_follows(seen: dict[str, Any]) -> None:
    assert seen["no answer"]["last"] == "PromptProgress"
    assert seen["one token"] == []


def test_the_token_that_ends_the_answer_is_named_when_asked(seen: dict[str, Any]) -> None:
    first, end = seen["whole"]["answer"]
    assert seen["end"] == [[first], [[first, False]], [[first, False], [end, True]]]


def test_a_prompt_is_cancelled_between_blocks(seen: dict[str, Any]) -> None:
    assert seen["cancelled"] == [1, "cancelled"]


if __name__ == "__main__":
    models = Path(sys.argv[1])
    result = see(import_module("test_conversations").load(models, Path(sys.argv[2])), models / "tiny.gguf")
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()
    os._exit(0)  # a normal exit would wait for KTransformers' threads, which never end
