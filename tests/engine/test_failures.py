"""A start that fails ends with the reason as its last line and in the termination log; one that is stopped ends with 0.

The launcher, the front and KTransformers itself, in the image; each failure is a real one of the engine's process.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    for module in ("torch", "ktransformers", "gguf", "httpx"):
        pytest.importorskip(module)

import httpx
from launcher_process import CPU, RULES, Running

Start = Callable[..., Running]
PATIENCE = 120
GRACE = 30.0  # seconds that a stop may take


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def make(rules: Path = RULES, engine: tuple[str, ...] = CPU) -> Running:
        started.append(Running(tmp_path, rules, engine))
        return started[-1]

    yield make
    for stack in started:
        stack.end()


def reason(stack: Running) -> str:
    """The last line of a launcher that has ended with 1; the termination log has the same."""
    assert stack.process.wait(PATIENCE) == 1, stack.said()
    last = stack.said().splitlines()[-1]
    assert last.startswith("error: ")
    assert stack.last_words.read_text() == last.removeprefix("error: ")
    return stack.last_words.read_text()


def test_a_flag_that_ktransformers_does_not_know(start: Start) -> None:
    stack = start(engine=(*CPU, "--no_such_flag", "1"))
    assert (
        reason(stack)
        == "KTransformers does not accept its flags (--no_such_flag 1); correct the flags after --; its reason is above"
    )


def test_a_rule_file_that_ktransformers_cannot_follow(start: Start, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.read_text().replace("KDeepseekV2Model", "NoSuchModel"))
    said = reason(start(rules))
    assert said.startswith("the engine failed: AttributeError: ")
    assert "NoSuchModel" in said


def test_an_engine_that_is_killed(start: Start) -> None:
    """As the kernel does when memory runs out."""
    stack = start()
    stack.wait("loading")
    os.kill(stack.worker(), signal.SIGKILL)
    assert reason(stack).startswith(
        "the engine ended by SIGKILL; most likely it ran out of memory: raise resources.limits"
    )


def test_a_healthy_engine_that_is_killed(start: Start) -> None:
    stack = start()
    stack.wait()
    os.kill(stack.worker(), signal.SIGILL)
    assert reason(stack).startswith("the engine ended by SIGILL; this CPU cannot run this build")


def test_an_answer_that_does_not_end_is_cancelled(start: Start) -> None:
    """The engine hangs in the middle of it: SIGTERM ends all three processes with 0, within the grace period."""
    stack = start()
    stack.wait()
    worker = stack.worker()
    os.kill(worker, signal.SIGSTOP)
    body = {"model": "tiny", "prompt": "x", "max_tokens": 4, "stream": True}
    with httpx.stream("POST", stack.url + "/v1/completions", json=body, timeout=PATIENCE) as answer:
        assert answer.status_code == 200
        begin = time.monotonic()
        stack.process.send_signal(signal.SIGTERM)
        while time.monotonic() < begin + 5:  # it is given time, but nobody else is let in
            assert stack.process.poll() is None
            time.sleep(0.2)
        with pytest.raises(httpx.TransportError):
            httpx.get(stack.url + "/health", timeout=5)
        assert stack.process.wait(PATIENCE) == 0, stack.said()
        assert time.monotonic() - begin < GRACE
        # The stream has its proper end, and says why.
        assert '"code":"stopping"' in answer.read().decode()
        assert "[DONE]" not in answer.text
    assert not Path(f"/proc/{worker}").exists()
    assert "Traceback" not in stack.said()


def test_a_signal_while_a_prompt_is_read_ends_it_with_0(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a chunk that would take longer than the grace period: given up before its next layer."""
    monkeypatch.setenv("SLOW_CHUNKS", "10")
    stack = start()
    stack.wait()
    worker = stack.worker()
    body = {"model": "tiny", "prompt": "x" * 100, "max_tokens": 4, "stream": True}
    with httpx.stream("POST", stack.url + "/v1/completions", json=body, timeout=PATIENCE) as answer:
        deadline = time.monotonic() + 30
        while "leviathan_prompt_read_total_tokens 0.0" in httpx.get(stack.url + "/metrics", timeout=30).text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        begin = time.monotonic()
        stack.process.send_signal(signal.SIGTERM)
        assert stack.process.wait(PATIENCE) == 0, stack.said()
        assert time.monotonic() - begin < GRACE
        assert '"code":"stopping"' in answer.read().decode()
        assert '"text":"' not in answer.text.replace('"text":""', "")
    assert not Path(f"/proc/{worker}").exists()
    assert "Traceback" not in stack.said()
    assert not stack.last_words.exists()


def test_a_signal_while_the_engine_loads_ends_it_with_0(start: Start) -> None:
    stack = start()
    stack.wait("loading")
    worker = stack.worker()
    begin = time.monotonic()
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(PATIENCE) == 0, stack.said()
    assert time.monotonic() - begin < GRACE
    assert not Path(f"/proc/{worker}").exists()
    assert not stack.last_words.exists()
