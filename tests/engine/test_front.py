"""The launcher, the front and KTransformers itself: from a GGUF file alone to the `openai` package, on the CPU.

The engine's process gets the shims of cpu_shims.py through a `sitecustomize` on its path: there is no GPU here.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    for module in ("torch", "ktransformers", "gguf", "openai"):
        pytest.importorskip(module)

import httpx
import openai

HERE = Path(__file__).resolve().parent
START_SECONDS = 240
CACHE, LONGEST = 256, 48
SHIMS = """\
import sys
if "leviathan_engine.worker" in sys.orig_argv:
    import cpu_shims
    cpu_shims.apply()
"""
HELLO: list[Any] = [{"role": "user", "content": "hello, 12345"}]


class Running:
    """The launcher's process, its address and its log."""

    def __init__(self, work: Path, port: int) -> None:
        self.work, self.url, self.log = work, f"http://127.0.0.1:{port}", work / "log"
        (work / "shims").mkdir()
        (work / "shims" / "sitecustomize.py").write_text(SHIMS)
        flags = {
            "--model_path": work / "models",
            "--model_name": "tiny",
            "--host": "127.0.0.1",
            "--port": port,
            "--cpu_offload_max_threads": 2,
            "--cache_lens": CACHE,
            "--max_new_tokens": LONGEST,
            "--optimize_config_path": HERE / "cpu-rules.yaml",
        }
        words = [word for pair in flags.items() for word in map(str, pair)]
        path = os.pathsep.join([str(work / "shims"), str(HERE), *sys.path])
        env = dict(os.environ) | {"PYTHONPATH": path, "LEVIATHAN_STATE": str(work / "s")}
        with self.log.open("wb") as sink:
            argv = [sys.executable, "-m", "leviathan_engine", *words, "--", "--device", "cpu"]
            self.process = subprocess.Popen(argv, env=env, cwd=work, stdout=sink, stderr=subprocess.STDOUT)
        self.phases: list[dict[str, Any]] = []

    def wait(self) -> None:
        """Until the model answers; what /health says on the way is kept."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            said = self.log.read_text(errors="replace")[-3000:]
            assert self.process.poll() is None, said
            assert time.monotonic() < deadline, said
            try:
                answer = httpx.get(self.url + "/health", timeout=30)
                self.phases.append(answer.json() | {"code": answer.status_code})
                if answer.status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)

    def end(self) -> None:
        """Ends what still runs, children included, as a pod's end does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    work = tmp_path_factory.mktemp("front")
    (work / "models").mkdir()
    import_module("test_gguf_alone").write_model(work / "models" / "tiny.gguf", split_kv_b=True)
    stack = Running(work, import_module("test_server").free_port())
    try:
        stack.wait()
        yield stack
    finally:
        stack.end()


@pytest.fixture(scope="module")
def client(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0, timeout=240)


def test_the_load_is_seen(running: Running) -> None:
    codes = [phase["code"] for phase in running.phases]
    assert codes[:-1] == [503] * (len(codes) - 1)
    assert len(codes) > 1
    last = running.phases[-1]
    assert (last["status"], last["layers"], last["percent"]) == ("ok", 4, 100.0)
    loading = [phase for phase in running.phases if phase["phase"] in ("loading", "first answer")]
    assert any(phase["bytes_loaded"] > 0 for phase in loading)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_greedy_is_the_same_twice_and_streamed(client: openai.OpenAI) -> None:
    def whole() -> Any:
        return client.chat.completions.create(model="tiny", messages=HELLO, temperature=0, max_tokens=5)

    first, second = whole(), whole()
    assert first.choices[0].message.content == second.choices[0].message.content
    # First token, user, "he" as one token and 10 more characters, assistant: as test_gguf_alone has it.
    assert first.usage.prompt_tokens == 14
    finish = first.choices[0].finish_reason
    assert (finish == "length") == (first.usage.completion_tokens == 5)
    chunks = list(
        client.chat.completions.create(model="tiny", messages=HELLO, temperature=0, max_tokens=5, stream=True)
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == first.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == finish


def test_greedy_tokens_are_those_of_the_plain_loop(running: Running, client: openai.OpenAI, tmp_path: Path) -> None:
    """test_gguf_alone runs the model with an argmax loop of its own; the same file, prompt and length here."""
    engine_process = import_module("engine_process")
    engine_process.write_config(tmp_path)
    argv = [sys.executable, str(HERE / "test_gguf_alone.py"), str(running.work / "models"), str(tmp_path)]
    env = engine_process.environment(tmp_path) | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    plain = import_module("json").loads(done.stdout.splitlines()[-1])
    steps = import_module("test_gguf_alone").STEPS
    answer = client.chat.completions.create(model="tiny", messages=HELLO, temperature=0, max_tokens=steps)
    eos = plain["answer"].index(1) if 1 in plain["answer"] else steps
    prompts = import_module("leviathan_engine.front.prompt").load(running.work / "s" / "hf")
    assert answer.choices[0].message.content == prompts.text(plain["answer"][:eos])


def test_seeds(client: openai.OpenAI) -> None:
    def text(seed: int) -> str:
        answer = client.completions.create(model="tiny", prompt="ab", max_tokens=5, temperature=1.5, top_p=1, seed=seed)
        return answer.choices[0].text

    assert text(1) == text(1) != text(2)


def test_a_temperature_next_to_0_is_greedy_and_harms_nothing(client: openai.OpenAI) -> None:
    """As a 32-bit float 1e-50 is 0: a sampler that divides by it would end the engine for everybody."""
    greedy = client.completions.create(model="tiny", prompt="ab", max_tokens=5, temperature=0)
    for little in ({"temperature": 1e-50, "top_p": 1}, {"temperature": 1.5, "top_p": 1e-50}):
        answer = client.completions.create(model="tiny", prompt="ab", max_tokens=5, **little)  # type: ignore[call-overload]
        assert answer.choices[0].text == greedy.choices[0].text


def test_limits(client: openai.OpenAI) -> None:
    """The engine would die of a prompt past its cache; here it is a 400, and the next request is answered."""
    with pytest.raises(openai.BadRequestError, match="tokens"):
        client.completions.create(model="tiny", prompt="x" * 300, max_tokens=4)
    with pytest.raises(openai.BadRequestError, match="256 tokens"):
        client.completions.create(model="tiny", prompt="x" * 230, max_tokens=LONGEST)
    with pytest.raises(openai.NotFoundError, match="other"):
        client.completions.create(model="other", prompt="x")
    assert client.completions.create(model="tiny", prompt="x", max_tokens=2).usage.completion_tokens <= 2


def test_health_answers_during_a_generation(running: Running, client: openai.OpenAI) -> None:
    with client.completions.create(model="tiny", prompt="x", max_tokens=LONGEST, temperature=1, stream=True) as stream:
        next(iter(stream))
        assert httpx.get(running.url + "/health", timeout=30).status_code == 200
    # The client is gone with that; its generation ends before its 48 tokens.
    deadline = time.monotonic() + 60
    while "leviathan_cancelled_total 1" not in httpx.get(running.url + "/metrics", timeout=30).text:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_end(running: Running, client: openai.OpenAI) -> None:
    """SIGTERM is the last test's: exit 0 within 30 s, and everything written is below the state folder."""
    before = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert time.monotonic() - before < 30
    written = {path.name for path in running.work.iterdir()}
    assert written == {"models", "shims", "log", "s"}
    with pytest.raises(openai.APIConnectionError):
        client.models.list()
