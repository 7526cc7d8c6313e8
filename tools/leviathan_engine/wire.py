"""The protocol between the engine's processes: JSON objects, one per line, over a Unix socket that the front opens.

The launcher and the worker connect to the socket. Messages to the front: `phase`, `model`, `progress`, `ready`,
`failed`, and for a request `prompt_progress`, `prompt_logprobs`, `token`, `done`. Messages from the front, to the
worker only: `generate`, `cancel`. The key "kind" holds the name of the message.
"""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# A prompt of 160 k tokens is about 1 MB as JSON.
LINE_LIMIT = 16 << 20
# Log probabilities in one `prompt_logprobs` message: about 4 kB, so that the front is busy with it for less than 1 ms.
MESSAGE_LOGPROBS = 128

Message = dict[str, Any]


@dataclass(frozen=True)
class ServedModel:
    """What the front needs to know about the model to check and answer requests.

    `folder` is the Hugging Face folder with the tokenizer. Lengths are in tokens. `total_bytes` of all files, `layers`
    and `start_seconds` (None: not known) are used to report progress.
    """

    name: str
    folder: str
    cache_lens: int
    max_prompt: int
    max_new_tokens: int
    layers: int
    total_bytes: int
    start_seconds: float | None = None

    @property
    def longest_prompt(self) -> int:
        """Maximum length of a prompt in tokens; leaves room for one token of the answer in the KV cache."""
        return min(self.max_prompt, self.cache_lens - 1)


@dataclass(frozen=True)
class Job:
    """One generation: the prompt's token ids, the maximum number of new tokens, and how each token is chosen.

    `temperature` 0 takes the most likely token; `seed` None uses a different seed each time; tokens in `eos` end the
    answer. Jobs with the same `scope` share the prefix cache. `sampling` has the fields of the worker's
    SamplingOptions that are not at their defaults.
    """

    id: str
    ids: tuple[int, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    eos: tuple[int, ...]
    scope: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """A generated token with its log probability, and the most likely tokens with theirs if the job asks for them.

    `ends`: the token ends the answer, and is not part of it.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    ends: bool = False


@dataclass(frozen=True, slots=True)
class PromptToken:
    """A token of a prompt with its log probability after the tokens before it, and the most likely ones with theirs.

    `rank` is 1 for the most likely token.
    """

    token: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class PromptLogprobs:
    """Consecutive tokens of the prompt of job `id`. The first message begins with the prompt's second token."""

    id: str
    tokens: tuple[PromptToken, ...]


@dataclass(frozen=True)
class PromptProgress:
    """How much of the prompt of job `id` is read: `done` of `total` tokens; `cached` came from the prefix cache."""

    id: str
    total: int
    cached: int
    done: int


_COMPACT = json.JSONEncoder(separators=(",", ":"))


def encode(message: Mapping[str, Any]) -> bytes:
    """Returns one message as a line."""
    return _COMPACT.encode(message).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Returns the message of a line. Errors: ValueError if it is not a JSON object with a kind."""
    message = json.loads(line.decode("utf-8"))
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ValueError(f"expected a JSON object with a kind, got {line[:80]!r}")
    return message


def model_message(model: ServedModel) -> Message:
    """Returns a `model` message, to the front."""
    return {"kind": "model", **asdict(model)}


def served_model(message: Message) -> ServedModel:
    """Returns the model of a `model` message."""
    return ServedModel(**{key: value for key, value in message.items() if key != "kind"})


def generate_message(job: Job) -> Message:
    """Returns a `generate` message, to the worker."""
    return {"kind": "generate", **vars(job)}  # asdict would copy every token id, 100 ms for 160 k of them


def job(message: Message) -> Job:
    """Returns the job of a `generate` message."""
    fields = {key: value for key, value in message.items() if key != "kind"}
    return Job(**(fields | {"ids": tuple(fields["ids"]), "eos": tuple(fields["eos"])}))


def token_message(job: str, token: int | Chosen) -> Message:
    """Returns a `token` message, to the front."""
    if isinstance(token, Chosen):
        found = {"kind": "token", "id": job, "token": token.token, "logprob": token.logprob, "top": token.top}
        return found | ({"ends": True} if token.ends else {})
    return {"kind": "token", "id": job, "token": token}


def token_of(message: Message) -> int | Chosen:
    """Returns the token of a `token` message."""
    if "logprob" not in message:
        return int(message["token"])
    return Chosen(int(message["token"]), float(message["logprob"]), _top(message["top"]), bool(message.get("ends")))


def prompt_message(event: PromptProgress | PromptLogprobs) -> Message:
    """Returns a `prompt_progress` or a `prompt_logprobs` message, to the front."""
    if isinstance(event, PromptProgress):
        return {"kind": "prompt_progress", **asdict(event)}
    tokens = [(one.token, one.logprob, one.rank, one.top) for one in event.tokens]
    return {"kind": "prompt_logprobs", "id": event.id, "tokens": tokens}


def prompt_progress(message: Message) -> PromptProgress:
    """Returns the progress of a `prompt_progress` message."""
    return PromptProgress(**{key: value for key, value in message.items() if key != "kind"})


def prompt_logprobs(message: Message) -> PromptLogprobs:
    """Returns the tokens of a `prompt_logprobs` message."""
    rows = message["tokens"]
    tokens = (PromptToken(int(token), float(logprob), int(rank), _top(top)) for token, logprob, rank, top in rows)
    return PromptLogprobs(str(message["id"]), tuple(tokens))


def _top(pairs: Any) -> tuple[tuple[int, float], ...]:
    return tuple((int(token), float(logprob)) for token, logprob in pairs)


class Link:
    """A blocking connection to the front, for the launcher and the worker. `send` is safe from several threads."""

    def __init__(self, path: Path) -> None:
        """Connects. Errors: OSError."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends one message. Errors: OSError if the front has ended."""
        with self._lock:
            self._socket.sendall(encode(message))

    def messages(self) -> Iterator[Message]:
        """Yields the front's messages until it closes the connection."""
        with self._socket.makefile("rb") as lines:
            for line in lines:
                yield decode(line)

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()
