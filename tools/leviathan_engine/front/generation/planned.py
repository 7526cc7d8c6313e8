"""Makes the jobs of a request: one for each choice, with the worker's options."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from leviathan_engine.model.chat_prompt import TOO_LONG, PromptError, Prompts
from leviathan_engine.model.rendered_chat import RenderedChat
from leviathan_engine.wire import Job, ServedModel

from ..api_error import bad
from .demand import Demand, demand_of, thought_options
from .request import ChatPrompt, GenerationRequest, Prompt, Sampling, TextPrompt

# Maximum number of log probabilities of a request's prompts. 65,536 take about 30 MB here, and 2 MB in the answer.
MOST_NAMED = 1 << 16
SAME_NAMES = (
    *("top_k", "min_p", "typical_p", "presence_penalty", "frequency_penalty", "repetition_penalty"),
    "logit_bias",
)


@dataclass(frozen=True)
class Planned:
    """One choice: its prompt, the rendered text of a chat, the demand on its answer, and its job."""

    prompt: Prompt
    talk: RenderedChat | None
    demand: Demand | None
    job: Job

    def following(self, grammar: str) -> "Planned":
        """Returns a copy with the grammar of its demand in the job."""
        options = (self.demand.options if self.demand else {}) | {"grammar": grammar}
        return replace(self, job=replace(self.job, sampling={**options, **self.job.sampling}))


def prepare(prompts: Prompts, prompt: Prompt, most: int) -> tuple[list[int], RenderedChat | None]:
    """Returns the tokens of a prompt, at most `most`, and the rendered text of a chat. Errors: ApiError 400."""
    try:
        if isinstance(prompt, ChatPrompt):
            return prompts.chat(prompt, most)
        if isinstance(prompt, TextPrompt) and prompt.suffix:
            return prompts.between_ids(prompt.text, prompt.suffix, most), None
        return prompts.text_ids(prompt.text if isinstance(prompt, TextPrompt) else prompt.ids, most), None
    except PromptError as err:
        raise bad(err.message, err.param, err.code) from err


def plan(request: GenerationRequest, prompts: Prompts, model: ServedModel, scope: str) -> list[Planned]:
    """Returns the choices of a request, all drawn for each prompt, with consecutive seeds. Errors: ApiError 400.

    The first choice of each prompt has the engine name the prompt's tokens, if the request asks for it.
    """
    biased = [token for token, _ in request.sampling.logit_bias]
    for where, ids in (("logit_bias", biased), ("stop_token_ids", request.ending.stop_tokens)):
        if any(not 0 <= i < prompts.vocabulary for i in ids):
            raise bad(f"{where}: expected token ids below {prompts.vocabulary}", where, "invalid_token_id")
    out = []
    for prompt in request.prompts:
        ids, talk = prepare(prompts, prompt, model.longest_prompt)
        demand = demand_of(request, prompt, talk, prompts)
        first = _job(request, prompts, model, ids, talk, scope)
        for number in range(request.drawn):
            seed = None if first.seed is None else first.seed + number
            named = {} if number or request.named_prompt is None else {"prompt_logprobs": request.named_prompt}
            job = replace(first, id=secrets.token_hex(16), seed=seed, sampling={**first.sampling, **named})
            out.append(Planned(prompt, talk, demand, job))
    _check_named(request, sum(len(one.job.ids) for one in out))
    return out


def _check_named(request: GenerationRequest, tokens: int) -> None:
    """Checks the number of log probabilities for `tokens` tokens of prompts, of all choices. Errors: ApiError 400."""
    most = request.named_prompt
    if most is not None and tokens * (1 + most) > MOST_NAMED:
        field = "logprobs" if request.echo_logprobs == most else "prompt_logprobs"
        raise bad(
            f"{field}: {tokens} tokens of prompts, each with {most} most likely tokens, make {tokens * (1 + most)} log"
            f" probabilities, at most {MOST_NAMED} are allowed: send fewer or shorter prompts, or lower {field}",
            field,
            TOO_LONG,
        )


def clamped(request: GenerationRequest, planned: Sequence[Planned]) -> str:
    """Returns the header's value if fewer tokens are possible than requested, otherwise ""."""
    asked, least = request.ending.max_tokens, min(one.job.max_tokens for one in planned)
    return "" if asked is None or asked <= least else f"max_tokens {asked} to {least}"


def ignored(request: GenerationRequest, prompts: Prompts, planned: Sequence[Planned]) -> str:
    """Returns the names of requested options that have no effect here."""
    missing = {name: None for one in planned if one.talk for name in one.talk.missing}
    if request.ending.think_budget is not None and prompts.token_id("</think>") is None:
        missing["thinking_budget"] = None
    return ascii(", ".join([*request.ignored, *missing]))[1:-1][:1000]


def _job(
    request: GenerationRequest,
    prompts: Prompts,
    model: ServedModel,
    ids: list[int],
    talk: RenderedChat | None,
    scope: str,
) -> Job:
    """Makes the job of a prompt. Lowers the number of tokens to what fits the context."""
    if not ids:
        raise bad("the prompt has no tokens", request.where)
    sampling, ending = request.sampling, request.ending
    room = min(model.cache_lens - len(ids), model.max_new_tokens)
    ends = (() if ending.ignore_eos else prompts.eos) + ending.stop_tokens
    return Job(
        id="",
        ids=tuple(ids),
        max_tokens=room if ending.max_tokens is None else min(ending.max_tokens, room),
        temperature=prompts.temperature if sampling.temperature is None else sampling.temperature,
        top_p=prompts.top_p if sampling.top_p is None else sampling.top_p,
        seed=sampling.seed,
        eos=ends,
        scope=scope,
        sampling=_options(request, prompts, talk),
    )


def _options(request: GenerationRequest, prompts: Prompts, talk: RenderedChat | None) -> dict[str, Any]:
    """Returns the options that are not at their defaults, with the names of worker/sampling_options.py."""
    plain = Sampling()
    out = {name: getattr(request.sampling, name) for name in SAME_NAMES}
    out = {name: value for name, value in out.items() if value != getattr(plain, name)}
    if request.logprobs is not None:
        out["logprobs"] = request.logprobs
    if request.echo_logprobs is not None:
        out["end_logprob"] = True  # lm-evaluation-harness leaves out the last token as the one that was generated
    if request.ending.min_tokens:
        out["min_tokens"] = request.ending.min_tokens
    budget = request.ending.think_budget
    if budget is not None and (tags := thought_options(talk, prompts)):
        out |= {"think_budget": budget} | tags
    return out
