"""aider: it edits a file as the model says, and asks nothing of the network but this server."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def test_a_file_is_edited(server: Any, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("print('hi')\n")
    argv = [sys.executable, "-m", "aider", "--model", "openai/letters", "--edit-format", "whole", "--no-git", "--yes"]
    argv += ["--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--no-pretty", "--map-tokens", "0"]
    argv += ["--no-detect-urls", "--no-show-release-notes", "--message", "Greet the world.", "hello.py"]
    packages = {"PYTHONPATH": os.environ["LEVIATHAN_CLIENT_PACKAGES"]}
    env = (
        os.environ | packages | {"OPENAI_API_BASE": server.url + "/v1", "OPENAI_API_KEY": "none", "HOME": str(tmp_path)}
    )
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "hello.py").read_text() == "print('hello, world')\n", done.stdout + done.stderr
