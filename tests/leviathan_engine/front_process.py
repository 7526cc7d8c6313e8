"""A real front process for tests, and an engine behind its socket that speaks the alphabet in place of a model."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from leviathan_engine import wire
from leviathan_engine.worker.session import Cancelled, OutOfMemory, Session

TOOLS = Path(__file__).resolve().parents[2] / "tools"
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["<bos>", "<eos>", "<user>", "<assistant>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' and not loop.first %}"
    "{{ raise_exception('system comes first') }}{% endif %}"
    "{% if m['role'] == 'user' %}<user>{% elif m['role'] == 'assistant' %}<assistant>{% endif %}{{ m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
SERVED = wire.ServedModel("letters", "", 450, 400, 100, 61, 1000)
PATIENCE = 60.0
# Runs the rest of the command line with a limit of open files.
LIMIT_FILES = (
    "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_NOFILE, (n, n));"
    " os.execv(sys.argv[2], sys.argv[2:])"
)


def write_folder(folder: Path, template: str = TEMPLATE) -> Path:
    """A Hugging Face folder with one token a byte."""
    vocabulary = {token: i for i, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIAL])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    documents: dict[str, dict[str, Any]] = {
        "tokenizer_config.json": {"bos_token": "<bos>", "eos_token": {"content": "<eos>"}, "chat_template": template},
        "generation_config.json": {"eos_token_id": vocabulary["<eos>"], "temperature": 0.6, "top_p": 0.95},
        "config.json": {"vocab_size": len(vocabulary)},
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder


def prompt_token(token: int, named: int) -> wire.PromptToken:
    """What the letters say of a token of the prompt: its log probability depends on its id alone, its rank is 2."""
    return wire.PromptToken(token, -token / 4, 2, tuple((other, -1.0 - other) for other in range(named)))


class Letters:
    """At temperature 0 the alphabet, once; else letters that depend on seed, temperature and top_p alone."""

    def __init__(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.alphabet = self.ids = [tokenizer.token_to_id(letter) for letter in ALPHABET]
        self.end = tokenizer.token_to_id("<eos>")
        self._encode = tokenizer.encode
        self.delay = 0.0
        self.go = threading.Event()  # cleared, it holds every generation before its next letter
        self.go.set()
        self.layers, self.layer_delay = 0, 0.0
        self.cached = 0
        self.rests = 0  # so often there is something to do while no job is there
        self.chunks = 1  # a prompt is read in so many; `go` holds it before the last one
        self.jobs: list[wire.Job] = []
        self.ended: list[str] = []
        self.error: Exception | None = None

    def says(self, text: str) -> None:
        """At temperature 0 this text from now on, one token a byte; "" is the alphabet."""
        self.ids = list(self._encode(text, add_special_tokens=False).ids) if text else self.alphabet

    def tokens(
        self,
        job: wire.Job,
        cancelled: Callable[[], bool],
        progress: Callable[[wire.PromptProgress | wire.PromptLogprobs], None],
    ) -> Generator[int | wire.Chosen, None, None]:
        self.jobs.append(job)
        for chunk in range(1, self.chunks + 1):
            if chunk == self.chunks > 1:
                self.go.wait()
            named = job.sampling.get("prompt_logprobs")
            first, done = (len(job.ids) * number // self.chunks for number in (chunk - 1, chunk))
            if named is not None and (tokens := job.ids[first + 1 : done + 1]):
                progress(wire.PromptLogprobs(job.id, tuple(prompt_token(token, named) for token in tokens)))
            progress(wire.PromptProgress(job.id, len(job.ids), min(self.cached, len(job.ids) - 1), done))
        if self.error is not None:
            raise self.error
        if job.max_tokens == 0:
            return
        named = job.sampling.get("logprobs")
        chance = random.Random(f"{job.seed} {job.temperature} {job.top_p}")
        try:
            for _ in range(self.layers):
                if cancelled():
                    raise Cancelled
                time.sleep(self.layer_delay)
            for letter in self.ids if job.temperature == 0 else chance.choices(self.ids, k=200):
                time.sleep(self.delay)
                self.go.wait()
                yield letter if named is None else wire.Chosen(letter, -0.5, tuple((i, -0.5 - i) for i in range(named)))
            if job.sampling.get("end_logprob"):
                yield wire.Chosen(self.end, -0.25, (), ends=True)
        finally:
            self.ended.append(job.id)

    def memory(self) -> list[dict[str, Any]]:
        return [{"gpu": 0, "used": 5, "total": 7}]

    def rest(self) -> bool:
        if self.rests <= 0:
            return False
        self.rests -= 1
        time.sleep(0.005)
        return self.rests > 0

    def gauges(self) -> dict[str, float]:
        return {"leviathan_cache_pages": 8, "leviathan_cache_pages_used": 2, "leviathan_unknown": 1}


class FrontProcess:
    """A running front; `serve` connects the letters to it."""

    def __init__(self, work: Path, template: str = TEMPLATE, *, files: int | None = None, **environ: str) -> None:
        """`files` is how many descriptors the process may have; None as many as the tests."""
        self.folder = write_folder(work / "hf", template)
        self.letters = Letters(self.folder)
        self.began = time.monotonic()
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # A Unix socket's path is short.
        self._short = tempfile.TemporaryDirectory(prefix="lev")
        self.socket_path = Path(self._short.name) / "s"
        argv = [
            sys.executable,
            "-m",
            "leviathan_engine.front",
            "--fd",
            str(listener.fileno()),
            "--socket",
            str(self.socket_path),
        ]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), **environ}
        limit = [sys.executable, "-c", LIMIT_FILES, str(files)] if files else []
        self._log = work / "front.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([*limit, *argv], pass_fds=[listener.fileno()], env=env, stderr=log)
        listener.close()
        self.link = self._connect()

    def _connect(self) -> wire.Link:
        while True:
            assert self.process.poll() is None, self.log()
            try:
                return wire.Link(self.socket_path)
            except OSError:
                assert time.monotonic() < self.began + PATIENCE
                time.sleep(0.02)

    def serve(self, **changes: Any) -> None:
        """Says which model it is and lets the letters answer."""
        self.link.send(wire.model_message(replace(SERVED, folder=str(self.folder), **changes)))
        threading.Thread(target=self._session, daemon=True).start()
        self.wait(lambda: httpx.get(self.url + "/ready").status_code == 200)

    def _session(self) -> None:
        with contextlib.suppress(Exception):
            Session(self.link, self.letters, os.getpid()).run()

    def wait(self, condition: Any) -> None:
        """Waits until `condition()` holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "timed out while waiting"
            time.sleep(0.02)

    def post(self, path: str, body: Any, address: str = "127.0.0.1", **kwargs: Any) -> httpx.Response:
        """Sends JSON, or bytes as they are, from a loopback address."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=PATIENCE) as client:
            return client.post(self.url + path, content=raw, **kwargs)

    def metric(self, line: str) -> float:
        """The value of a line of /metrics, by its name and labels."""
        text = httpx.get(self.url + "/metrics").text
        return next((float(one.rsplit(" ", 1)[1]) for one in text.splitlines() if one.startswith(line + " ")), 0.0)

    def log(self) -> str:
        """What the front has written on stderr."""
        return self._log.read_text(encoding="utf-8")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Ends what is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.link.close()
        self._short.cleanup()


def serving(folder: Path, **environment: Any) -> Iterator[FrontProcess]:
    """For a fixture: a front with its engine, closed at the end."""
    process = FrontProcess(folder, **environment)
    process.serve()
    yield process
    process.close()


def out_of_memory() -> Exception:
    """What a prompt too large for the GPU raises."""
    return OutOfMemory("the GPU's memory is too small for this prompt")
