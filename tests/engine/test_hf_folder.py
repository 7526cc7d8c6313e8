"""A Hugging Face folder of the user's is used as it stands, but for its Python; and a model in parts is one model.

The folder has another chat template than the GGUF header, and its configuration class as code, as DeepSeek-V3's has.
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    for module in ("torch", "ktransformers", "gguf", "httpx"):
        pytest.importorskip(module)

import httpx
from launcher_process import Running

from leviathan_engine.gguf import read_model
from leviathan_engine.model.hf_config import build

REMOTE = """\
from pathlib import Path
from transformers.configuration_utils import PretrainedConfig

Path({mark!r}).touch()


class TheirConfig(PretrainedConfig):
    model_type = "deepseek_v3"
"""
# In a process without our launcher, which trusts the folder.
TRUSTING = """\
import sys
from transformers import AutoConfig
print(type(AutoConfig.from_pretrained(sys.argv[1], trust_remote_code=True)).__name__)
"""


def user_folder(folder: Path, gguf: Path, mark: Path) -> Path:
    """What a download of the model's repository brings; its code leaves `mark`."""
    build(read_model(gguf)).write(folder)
    for name, change in (
        ("config.json", {"auto_map": {"AutoConfig": "configuration_theirs.TheirConfig"}}),
        ("tokenizer_config.json", {"chat_template": "{{ messages[0]['content'] }}"}),
    ):
        document: dict[str, Any] = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(document | change))
    (folder / "configuration_theirs.py").write_text(REMOTE.format(mark=str(mark)))
    return folder


def ask(stack: Running, path: str, body: dict[str, Any]) -> Any:
    """The answer of a greedy request."""
    asked = {"model": "tiny", "temperature": 0, "max_tokens": 8} | body
    return httpx.post(f"{stack.url}/v1/{path}", json=asked, timeout=120).json()


def answers(stack: Running) -> tuple[str, int]:
    """The text of a completion, and the tokens of a chat's prompt; the launcher is ended."""
    try:
        stack.wait()
        chat = ask(stack, "chat/completions", {"messages": [{"role": "user", "content": "hello, 12345"}]})
        return ask(stack, "completions", {"prompt": "hello"})["choices"][0]["text"], chat["usage"]["prompt_tokens"]
    finally:
        stack.end()


def test_a_users_folder_and_a_model_in_parts(tmp_path: Path) -> None:
    for name in ("one", "parts", "gguf"):
        (tmp_path / name).mkdir()
    mark = tmp_path / "parts" / "s" / "mark"  # where its code could write
    import_module("test_gguf_alone").write_model(tmp_path / "gguf" / "tiny.gguf", split_kv_b=True, parts=3)
    assert len(list((tmp_path / "gguf").iterdir())) == 3
    theirs = user_folder(tmp_path / "hf", tmp_path / "gguf", mark)
    text, tokens = answers(Running(tmp_path / "one"))
    # First token, user, "he" as one token and 10 more characters, assistant; then the first token and the text.
    assert tokens == 14
    flags = {"--model_path": theirs, "--gguf_path": tmp_path / "gguf"}
    stack = Running(tmp_path / "parts", flags=flags)
    assert answers(stack) == (text, 12)
    assert text
    assert not mark.exists()
    assert not list(stack.state.rglob("configuration_theirs.py"))


def test_the_folders_code_would_run_elsewhere(tmp_path: Path, home: Path) -> None:
    """The control: transformers runs it where it is trusted."""
    import_module("test_gguf_alone").write_model(tmp_path / "tiny.gguf", split_kv_b=True)
    mark = tmp_path / "mark"
    folder = user_folder(tmp_path / "hf", tmp_path / "tiny.gguf", mark)
    env = import_module("engine_process").environment(home)
    argv = [sys.executable, "-c", TRUSTING, str(folder)]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["TheirConfig"]
    assert mark.exists()
