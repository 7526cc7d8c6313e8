"""KTransformers' own server, loader and CPU experts answer chats from a tiny DeepSeek-V3, without a GPU."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import engine_process
import openai
import pytest

HERE = Path(__file__).resolve().parent
START_SECONDS = 400  # a few on an idle machine; without byte code on a busy one, minutes
TOKENS = 12


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def model(home: Path) -> Path:
    folder = home / "model"
    subprocess.run([sys.executable, str(HERE / "tiny_deepseek_v3.py"), str(folder)], check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def installed() -> set[Path]:
    """The files of the installed package before the server has started."""
    return files(engine_process.site("ktransformers") / "ktransformers")


@pytest.fixture(scope="module")
def server(home: Path, model: Path, installed: set[Path]) -> Iterator[str]:
    """The base URL of a running server; its log is shown when it does not come up."""
    port = free_port()
    flags = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--type": "ktransformers",
        "--device": "cpu",
        "--model_path": str(model),
        "--gguf_path": str(model / "gguf"),
        "--optimize_config_path": str(HERE / "cpu-rules.yaml"),
        "--cpu_infer": "2",
        "--cache_lens": "1024",
        "--max_new_tokens": str(TOKENS),
    }
    argv = [sys.executable, str(HERE / "cpu_shims.py"), *(word for pair in flags.items() for word in pair)]
    log = home / "server.log"
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as sink:
        # One torch thread next to the engine's busy ones: a machine may have two cores.
        env = engine_process.environment(home) | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(argv, env=env, cwd=home, stdout=sink, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                assert process.poll() is None, log.read_text(errors="replace")[-4000:]
                assert time.monotonic() < deadline, log.read_text(errors="replace")[-4000:]
                try:
                    urllib.request.urlopen(url + "/v1/models", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.3)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=300)


def test_chat(server: str) -> None:
    answer = client(server).chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content


def test_chat_of_several_turns(server: str) -> None:
    """A prompt of several pages of the cache (256 tokens each), so decoding walks the page table."""
    turns = [
        {"role": "user", "content": "a" * 300},
        {"role": "assistant", "content": "b" * 200},
        {"role": "user", "content": "c" * 100},
    ]
    answer = client(server).chat.completions.create(model="tiny", messages=turns)  # type: ignore[call-overload]
    assert answer.choices[0].message.content


def test_stream(server: str) -> None:
    """One event a token, each a JSON chunk with the same id, and [DONE] at the end."""
    body = json.dumps({"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "count"}]}).encode()
    request = urllib.request.Request(server + "/v1/chat/completions", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        lines = answer.read().decode().splitlines()
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(one) for one in data[:-1]]
    assert 1 <= len(chunks) <= TOKENS + 2
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)


def test_writes_stay_in_the_home_folder(server: str, home: Path, installed: set[Path]) -> None:
    """So the image's root can be read-only. The control: the same kind of listing does see what the server wrote."""
    client(server).chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x"}])
    assert files(engine_process.site("ktransformers") / "ktransformers") == installed
    written = {path.relative_to(home).parts[0] for path in files(home)}
    assert {"server.db", "logs", "huggingface"} <= written
