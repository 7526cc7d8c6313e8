"""The launcher, the front and KTransformers itself: from a GGUF file alone to the `openai` package, on the CPU.

They run where only the state folder is writable (launcher_process.py).
"""

import json
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
from launcher_process import CACHE, LONGEST, Running

HERE = Path(__file__).resolve().parent
HELLO: list[Any] = [{"role": "user", "content": "hello, 12345"}]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    stack = Running(tmp_path_factory.mktemp("front"))
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


def test_the_threads_of_the_experts_are_measured(running: Running) -> None:
    """The choice and its rate stand in /metrics, and the file keeps them for the next start."""
    lines = httpx.get(running.url + "/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("leviathan_cpu_"))
    kept = json.loads((running.state / "threads.json").read_text())
    assert float(values["leviathan_cpu_threads"]) == kept["count"] >= 2
    assert float(values["leviathan_cpu_experts_bytes_per_second"]) == pytest.approx(kept["rate"])
    assert kept["rate"] > 1e6


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
    prompts = import_module("leviathan_engine.model.chat_prompt").load(running.work / "s" / "hf")
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


def test_the_prompts_log_probabilities_are_those_of_answers(client: openai.OpenAI) -> None:
    """The token that an answer begins with, asked for as the last one of a prompt whose rest is cached by then."""
    ids = [40 + i * 7 % 60 for i in range(90)]
    asked: dict[str, Any] = {"model": "tiny", "temperature": 0}
    answer = client.completions.create(**asked, prompt=ids, max_tokens=1, logprobs=1).choices[0].logprobs
    body = {"prompt_logprobs": 1}
    choice: Any = client.completions.create(**asked, prompt=[*ids, 50], max_tokens=0, extra_body=body).choices[0]
    first, *named = choice.prompt_logprobs
    assert first is None
    assert [int(next(iter(entry))) for entry in named] == [*ids[1:], 50]
    (best,) = [entry for entry in named[-1].values() if entry["rank"] == 1]
    assert best["decoded_token"] == answer.tokens[0]
    assert best["logprob"] == pytest.approx(answer.token_logprobs[0], abs=0.05)
    whole = client.completions.create(**asked, prompt=[*ids, 50], max_tokens=0, echo=True, logprobs=1).choices[0]
    parts = client.completions.create(**asked, prompt=[*ids, 50], max_tokens=1, echo=True, logprobs=1, stream=True)
    streamed = [value for part in parts for c in part.choices if c.logprobs for value in c.logprobs.token_logprobs]
    assert whole.logprobs.token_logprobs == streamed[: len(ids) + 1]
    own = [entry[str(token)]["logprob"] for entry, token in zip(named, [*ids[1:], 50], strict=True)]
    assert whole.logprobs.token_logprobs == [None, *own]
    assert len(streamed) == len(ids) + 2, "and the answer's token"


def test_limits(client: openai.OpenAI) -> None:
    """The engine would die of a prompt past its cache; here it is a 400, and the next request is answered."""
    with pytest.raises(openai.BadRequestError, match="tokens"):
        client.completions.create(model="tiny", prompt="x" * 300, max_tokens=4)
    clamped = client.completions.with_raw_response.create(model="tiny", prompt="x" * 230, max_tokens=LONGEST)
    assert clamped.headers["x-leviathan-clamped"].startswith(f"max_tokens {LONGEST} to ")
    assert clamped.parse().usage.total_tokens <= CACHE
    with pytest.raises(openai.NotFoundError, match="other"):
        client.completions.create(model="other", prompt="x")
    assert client.completions.create(model="tiny", prompt="x", max_tokens=2).usage.completion_tokens <= 2


def test_health_answers_during_a_generation(running: Running, client: openai.OpenAI) -> None:
    """The worker is stopped, so the generation cannot end: if /health had to wait for it, it would wait forever."""

    def metrics() -> list[str]:
        return httpx.get(running.url + "/metrics", timeout=30).text.splitlines()

    worker = running.worker()
    os.kill(worker, signal.SIGSTOP)
    try:
        with client.completions.create(model="tiny", prompt="x", max_tokens=LONGEST, stream=True):
            for _ in range(3):
                assert httpx.get(running.url + "/health", timeout=5).status_code == 200
            assert "leviathan_running 1.0" in metrics()
    finally:
        os.kill(worker, signal.SIGCONT)
    # The client is gone with that, and its generation with it.
    deadline = time.monotonic() + 60
    while not {"leviathan_cancelled_total 1.0", "leviathan_running 0.0"} <= set(metrics()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.completions.create(model="tiny", prompt="x", max_tokens=2).usage.completion_tokens <= 2


def test_the_engine_has_the_flags_threads_and_the_memory_policy(running: Running) -> None:
    """numactl is in the image; where the kernel has nodes and grants the right, the engine's memory is interleaved."""
    cpu = import_module("leviathan_engine.machine.cpu")
    words = Path(f"/proc/{running.worker()}/cmdline").read_text().split("\0")
    assert words[words.index("--cpu_infer") + 1] == "2"
    policies = Path(f"/proc/{running.worker()}/numa_maps")
    if cpu.numa_nodes() and cpu.policy_error() == 0:
        assert " interleave:" in policies.read_text()
        assert " interleave:" not in Path("/proc/self/numa_maps").read_text()
    elif cpu.numa_nodes():
        assert "this container may not set a NUMA policy" in running.log.read_text(errors="replace")


def test_the_cache_is_used_to_its_last_token(client: openai.OpenAI) -> None:
    """Prompt and answer fill it; the front clamps a token more, since the engine would not survive it."""
    asked: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_tokens": LONGEST}
    for first in range(4, 40):
        prompt = [first + i % 200 for i in range(CACHE - LONGEST)]
        answer = client.completions.create(prompt=prompt, **asked)
        if answer.choices[0].finish_reason == "length":
            assert answer.usage.total_tokens == CACHE
            break
    else:
        pytest.fail("every greedy answer ends early")
    assert client.completions.create(prompt=[*prompt, 5], **asked).usage.total_tokens <= CACHE
    assert client.completions.create(model="tiny", prompt="x", max_tokens=2).usage.completion_tokens <= 2


def test_the_end(running: Running, client: openai.OpenAI) -> None:
    """SIGTERM is the last test's: exit 0 within 30 s."""
    before = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert time.monotonic() - before < 30
    with pytest.raises(openai.APIConnectionError):
        client.models.list()


def test_nothing_else_could_be_written_to(tmp_path: Path) -> None:
    """So that the tests above ran on a read-only root, and what they wrote is below the state folder."""
    (tmp_path / "s").mkdir()
    (tmp_path / "other").mkdir()
    places = [str(tmp_path / "s"), str(tmp_path / "other"), "/", "/tmp", "/dev/shm", "/usr", os.environ["HOME"]]
    tries = "for folder; do touch $folder/x 2>/dev/null && echo $folder; done; true"
    argv = [sys.executable, str(HERE / "read_only.py"), places[0], "sh", "-c", tries, "sh", *places]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == places[:1]
    assert (tmp_path / "s" / "x").exists()
    free = subprocess.run(["sh", "-c", tries, "sh", *places[:2]], capture_output=True, text=True, check=True)
    assert free.stdout.split() == places[:2]
