"""Goes over all settings: warm-up, then each number of clients at once, several times."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leviathan.bench.cells import FORMAT, Cell, table
from leviathan.bench.measure import Sample, ask, prompt
from leviathan.errors import ExitCode, LeviathanError
from leviathan.smoke.endpoint import Endpoint
from leviathan.smoke.result import Wrong
from leviathan.terminal.output import Console
from leviathan.terminal.progress import Waiting

#: Words of the request that finds out how many tokens a word has.
TRIAL = 64
#: Asks for answers of the full length; our front, vLLM, SGLang and llama.cpp know it. OpenAI's own API refuses it.
FULL_LENGTH = {"ignore_eos": True}
#: How an endpoint refuses a key that it does not know.
UNKNOWN_KEY = ("400 ", "422 ")


class BenchError(LeviathanError):
    """The endpoint cannot be measured."""

    exit_code = ExitCode.FAILED


@dataclass(frozen=True)
class Settings:
    """Tokens of prompts and answers, clients at once, and how often each client asks."""

    prompts: Sequence[int]
    answers: Sequence[int]
    clients: Sequence[int]
    repeat: int = 3


@dataclass(frozen=True)
class Measured:
    """A measurement: where, of which model, its cells, the plan's bound (tokens a second of one stream) or None."""

    url: str
    model: str
    cells: tuple[Cell, ...]
    bound: float | None = None
    assumed: str = ""
    earlier: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every request was answered."""
        return not any(cell.failures for cell in self.cells)

    def text(self) -> str:
        """The table, the plan's bound next to what was measured, and what failed."""
        lines = [f"{self.model} at {self.url}", table([cell.data() for cell in self.cells], self.earlier)]
        if self.earlier:
            lines.append(f"in brackets: against {self.earlier.get('model')} at {self.earlier.get('url')}")
        best = max((cell.values().get("stream_rate", 0.0) for cell in self.cells), default=0.0)
        if self.bound:
            of = f" ({self.assumed})" if self.assumed else ""
            share = f"{100 * best / self.bound:.0f} %"
            lines.append(f"the plan's bound{of}: {self.bound:.1f} tokens/s; measured {best:.1f}, {share} of it")
        lines += [f"failed: {text}" for cell in self.cells for text in dict.fromkeys(cell.failures)]
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """The measurement for programs."""
        return {
            "format": FORMAT,
            "url": self.url,
            "model": self.model,
            "plan_bound": self.bound,
            "plan_assumed": self.assumed,
            "cells": [cell.data() for cell in self.cells],
            "changed": False,
        }


def measure(
    endpoints: Callable[[], Endpoint], model: str, settings: Settings, console: Console, *, seed: int | None = None
) -> tuple[Cell, ...]:
    """All cells. `endpoints` makes one connection for each client; `seed`, for tests.

    Errors: BenchError when the endpoint does not answer the first request.
    """
    dice = random.Random(seed)
    with endpoints() as endpoint, Waiting(console, "bench: warm-up"):
        try:
            more, trial = _trial(endpoint, model, dice)
        except Wrong as wrong:
            raise BenchError(
                "the endpoint does not answer a chat",
                where=endpoint.url,
                why=wrong.received,
                remedy="leviathan smoke; another address or model: --url URL --model NAME",
            ) from None
    if not more:
        console.say("note: the endpoint does not take ignore_eos, so answers may be shorter than asked for")
    per_word = trial.prompt / TRIAL if trial.prompt else 1.0
    found = []
    for size in settings.prompts:
        for answer in settings.answers:
            for clients in settings.clients:
                label = f"bench: {size} tokens in, {answer} out, {clients} at once"
                with Waiting(console, label):
                    cell = _cell(endpoints, model, (size, answer, clients), settings.repeat, per_word, dice, more)
                console.say(f"{label}: {_short(cell)}")
                found.append(cell)
    return tuple(found)


def _trial(endpoint: Endpoint, model: str, dice: random.Random) -> tuple[Mapping[str, Any], Sample]:
    """What further keys the endpoint takes, and its answer to the first request. Errors: Wrong."""
    try:
        return FULL_LENGTH, ask(endpoint, model, prompt(TRIAL, dice), 1, FULL_LENGTH)
    except Wrong as wrong:
        if not wrong.received.startswith(UNKNOWN_KEY):
            raise
    return {}, ask(endpoint, model, prompt(TRIAL, dice), 1, {})


def _cell(
    endpoints: Callable[[], Endpoint],
    model: str,
    setting: tuple[int, int, int],
    repeat: int,
    per_word: float,
    dice: random.Random,
    more: Mapping[str, Any],
) -> Cell:
    size, answer, clients = setting
    texts = [prompt(round(size / per_word), dice) for _ in range(clients * repeat)]
    samples: list[Sample] = []
    failures: list[str] = []
    start = threading.Barrier(clients + 1)

    def client(mine: Sequence[str]) -> None:
        with endpoints() as endpoint:
            start.wait()
            for text in mine:
                try:
                    samples.append(ask(endpoint, model, text, answer, more))
                except Wrong as wrong:
                    failures.append(wrong.received)

    threads = [threading.Thread(target=client, args=(texts[place::clients],), daemon=True) for place in range(clients)]
    for thread in threads:
        thread.start()
    with endpoints() as endpoint:
        clock = endpoint.clock
    start.wait()
    began = clock()
    for thread in threads:
        thread.join()
    return Cell(size, answer, clients, tuple(samples), clock() - began, tuple(failures))


def _short(cell: Cell) -> str:
    values = cell.values()
    if not values:
        return f"failed: {cell.failures[0]}"
    return f"first token {values['first_p50']:.2f} s, {values['stream_rate']:.1f} tokens/s a stream"
