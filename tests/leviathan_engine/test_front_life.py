"""The front from its start over the load to its end, with and without an API key."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from front_process import SERVED, TOOLS, FrontProcess

from leviathan_engine import wire

CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "letters", "messages": [{"role": "user", "content": "hi"}], "temperature": 1}


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path, LEVIATHAN_API_KEY="secret")
    yield process
    process.close()


def health(front: FrontProcess) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(front.url + "/health")
    return answer.status_code, answer.json()


def test_from_loading_to_the_end(front: FrontProcess) -> None:
    code, report = health(front)
    assert (code, report["status"], report["percent"]) == (503, "loading", 0.0)
    front.link.send({"kind": "phase", "phase": "reading the header"})
    front.wait(lambda: health(front)[1]["phase"] == "reading the header")
    front.link.send(wire.model_message(SERVED) | {"folder": str(front.folder), "start_seconds": 400.0})
    front.wait(lambda: health(front)[1]["estimate_seconds"] == 400.0)
    front.link.send({"kind": "progress", "layers": 30, "bytes": 500})
    front.wait(lambda: health(front)[1]["percent"] == 50.0)
    code, report = health(front)
    assert (code, report["layers_loaded"], report["layers"], report["bytes"]) == (503, 30, 61, 1000)
    headers = {"authorization": "Bearer secret"}
    answer = front.post(CHAT, BODY, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "loading")
    assert httpx.get(front.url + "/ready").status_code == 503

    front.serve()
    assert health(front)[0] == 200
    assert front.post(CHAT, BODY, headers=headers).status_code == 200
    for wrong in ({}, {"authorization": "Bearer secre"}, {"authorization": "secret"}, {"x-api-key": "secre"}):
        answer = front.post(CHAT, BODY, headers=wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert httpx.get(front.url + "/v1/models").status_code == 401
    assert httpx.get(front.url + "/metrics").status_code == 200

    front.letters.delay = 0.05
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(front.post(CHAT, BODY | {"max_tokens": 30}, headers=headers))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    front.wait(lambda: front.metric("leviathan_queue_waiting") == 1)
    begin = time.monotonic()
    assert front.stop() == 0
    assert time.monotonic() - begin < 25
    for thread in threads:
        thread.join()
    # What ran was finished, what waited was sent away.
    assert sorted(answer.status_code for answer in answers) == [200, 503]
    done = next(answer for answer in answers if answer.status_code == 200)
    assert done.json()["usage"]["completion_tokens"] == 30


def test_an_engine_that_goes_away(front: FrontProcess) -> None:
    front.serve()
    front.letters.delay = 0.2
    answers: list[httpx.Response] = []
    headers = {"authorization": "Bearer secret"}
    thread = threading.Thread(target=lambda: answers.append(front.post(CHAT, BODY, headers=headers)))
    thread.start()
    front.wait(lambda: front.letters.jobs)
    front.letters.error = RuntimeError("CUDA error: device-side assert triggered")
    front.link._socket.shutdown(2)
    thread.join()
    assert answers[0].status_code == 503
    code, report = health(front)
    assert (code, report["status"], report["detail"]) == (503, "failed", "the engine process has ended")


def test_a_model_that_cannot_be_asked_is_not_healthy(front: FrontProcess) -> None:
    """Its tokenizer cannot be read; that the engine answers all the same changes nothing."""
    (front.folder / "tokenizer.json").write_text("{}")
    front.link.send(wire.model_message(SERVED) | {"folder": str(front.folder)})
    front.wait(lambda: health(front)[1]["status"] == "failed")
    front.link.send({"kind": "ready"})
    front.link.send({"kind": "phase", "phase": "afterwards"})
    front.wait(lambda: health(front)[1]["phase"] == "afterwards")
    assert health(front)[0] == 503
    assert httpx.get(front.url + "/ready").status_code == 503
    assert front.post(CHAT, BODY, headers={"authorization": "Bearer secret"}).status_code == 503


@pytest.mark.skipif(importlib.util.find_spec("ktransformers") is not None, reason="it would load")
def test_an_engine_that_cannot_load_says_why(front: FrontProcess, tmp_path: Path) -> None:
    """Where KTransformers is not installed: one line, the same in the file for the launcher and in /health."""
    names = ("reason", "home", "hf", "gguf", "rules")
    words = [word for name in names for word in (f"--{name}", str(tmp_path / name))]
    argv = [sys.executable, "-m", "leviathan_engine.worker", "--socket", str(front.socket_path), *words]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS)}
    done = subprocess.run(
        [*argv, "--cpu_infer", "2", "--cache_lens", "64", "--chunk", "64"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    reason = "the Python package ktransformers is not installed; run this command in the engine's image"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {reason}\n")
    assert (tmp_path / "reason").read_text() == reason
    front.wait(lambda: health(front)[1]["status"] == "failed")
    code, report = health(front)
    assert (code, report["detail"]) == (503, reason)


def test_a_key_from_a_file(tmp_path: Path) -> None:
    """As a Secret is mounted, with the line break that editors leave."""
    (tmp_path / "key").write_text("from-a-file\n")
    front = FrontProcess(tmp_path, LEVIATHAN_API_KEY_FILE=str(tmp_path / "key"), LEVIATHAN_API_KEY="not-this-one")
    try:
        front.serve()
        codes = [
            httpx.get(front.url + "/v1/models", headers={"authorization": f"Bearer {key}"}).status_code
            for key in ("from-a-file", "not-this-one", "from-a-fil")
        ]
    finally:
        front.close()
    assert codes == [200, 401, 401]


def test_wrong_settings_end_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="error: LEVIATHAN_QUEUE: expected an integer above 0, got 'many'"):
        FrontProcess(tmp_path, LEVIATHAN_QUEUE="many")
