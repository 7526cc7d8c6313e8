"""Clients that stream through the NodePort at once, each with a prompt of its own; none of them stops at an error."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .happy_path import PORT

TOKENS = 12  # with fewer, some of the answers are equal
KEPT = 20  # failures that are told one by one
PAUSE = 0.5  # seconds after a failure, so that a dead engine is not asked as fast as it refuses


@dataclass(frozen=True)
class Answer:
    """A streamed answer: its text, and whether the stream was closed as it should be."""

    text: str
    whole: bool


def stream(prompt: str) -> Answer:
    """One streamed completion at temperature 0. Errors: OSError when the connection breaks."""
    body = {"model": "deepseek-v3", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "stream": True}
    address = f"http://127.0.0.1:{PORT}/v1/completions"
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    text, finished, done = "", False, False
    with urllib.request.urlopen(request, timeout=300) as answer:
        for line in answer:
            data = line.decode().strip().removeprefix("data: ")
            if data == "[DONE]":
                done = True
            elif data.startswith("{"):
                choice = json.loads(data)["choices"][0]
                text += choice.get("text") or ""
                finished = finished or bool(choice.get("finish_reason"))
    return Answer(text, finished and done)


@dataclass
class Tally:
    """What came of one client's requests: answers, those that are not the one given alone, those without an end."""

    answers: int = 0
    different: int = 0
    torn: int = 0


@dataclass
class Crowd:
    """The clients, each of which asks its prompt again and again; `expected` has the answers given alone.

    Arguments: `seconds` in which they begin another request, at least one each; `failure` is called with a request's
    error, in the client's thread; `ask` is what makes a request.
    """

    prompts: Sequence[str]
    expected: Sequence[str]
    seconds: float
    failure: Callable[[Exception], None] = lambda _error: None
    ask: Callable[[str], Answer] = stream
    tallies: list[Tally] = field(init=False)
    failures: list[tuple[float, int, str]] = field(default_factory=list)  # seconds since the start, client, error
    failed: int = 0

    def __post_init__(self) -> None:
        self.tallies = [Tally() for _ in self.prompts]
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(len(self.prompts))
        self._begun = 0.0

    @property
    def answers(self) -> int:
        """Answers so far."""
        return sum(one.answers for one in self.tallies)

    def run(self) -> None:
        """All clients at once, until the last has ended."""
        self._begun = time.monotonic()
        with ThreadPoolExecutor(len(self.prompts)) as pool:
            list(pool.map(self._client, range(len(self.prompts))))

    def _client(self, number: int) -> None:
        self._barrier.wait(60)
        first = True
        while first or time.monotonic() - self._begun < self.seconds:
            first = False
            try:
                self._request(number)
            except Exception as error:
                self._note(number, error)
                time.sleep(PAUSE)

    def _request(self, number: int) -> None:
        answer, tally = self.ask(self.prompts[number]), self.tallies[number]
        tally.answers += 1
        tally.different += answer.text != self.expected[number]
        tally.torn += not answer.whole

    def _note(self, number: int, error: Exception) -> None:
        with self._lock:
            self.failed += 1
            if self.failed <= KEPT:
                self.failures.append((round(time.monotonic() - self._begun, 2), number, repr(error)))
        self.failure(error)


def refused(error: Exception) -> bool:
    """Whether nobody took the connection."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return isinstance(reason, ConnectionRefusedError)
