"""`leviathan smoke` as a process: exit status, both outputs, JSON and the result file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from push_support import TOOLS
from smoke_support import MODEL, endpoint

SETTINGS = ("--set", f"engine.model_name={MODEL}", "--set", "smoke.max_tokens=10", "--set", "smoke.reach_s=0")


def start(folder: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "leviathan", "smoke", *SETTINGS, *arguments],
        env={**base, **environ},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def smoke(folder: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    process = start(folder, *arguments, **environ)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def html(reply: Any, body: Any) -> None:
    reply.send(200, "<html></html>", "text/html")


def test_passes(tmp_path: Path) -> None:
    with endpoint() as url:
        code, out, err = smoke(tmp_path, "--url", url, "--result-file", "r.json")
    assert code == 0, err
    assert out.startswith(f"{url} answers as {MODEL}: 7 checks passed in ")
    assert "first token 0." in out
    assert err.count("smoke: passed ") == 7
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["ok"], report["changed"], report["measured"]["tokens"]) == (True, False, 10)
    assert report["measured"]["tokens_per_s"] > 0
    assert [check["state"] for check in report["checks"]] == ["passed"] * 7


def test_fails_with_8_and_every_check(tmp_path: Path) -> None:
    with endpoint(health=html, refusal=html) as url:
        code, out, err = smoke(tmp_path, "--url", url, "--json", "--result-file", "r.json")
    assert code == 8
    assert err.splitlines()[-1].startswith(
        f"error: smoke check health failed (2 of 7 checks failed) ({url}): expected 200"
    )
    assert "got 200 text/html: <html></html>; also failed: refusal" in err
    report = json.loads(out)
    assert report == json.loads((tmp_path / "r.json").read_text())
    error = report["error"]
    assert (report["ok"], error["exit_code"]) == (False, 8)
    states = {check["name"]: check["state"] for check in error["checks"]}
    assert [name for name, state in states.items() if state == "failed"] == ["health", "refusal"]
    assert error["measured"]["pieces"] == 10
    assert "Traceback" not in err


def test_usage_errors_are_2(tmp_path: Path) -> None:
    for arguments, words in (
        (
            ("--url", "nonsense"),
            "invalid endpoint address: expected a URL such as http://HOST:PORT, got 'nonsense'; fix: --url http://HOST:PORT",
        ),
        (("--url", "http://x", "--rollback-on-failure"), "cannot be used with"),
        (("--dry-run", "--rollback-on-failure"), "cannot be used with"),
        (
            ("--url", "http://x", "--set", "smoke.api_key_file=none"),
            "cannot read the API key (smoke.api_key_file none)",
        ),
        (("--set", "smoke.max_tokens=1"), "smoke.max_tokens (--set): expected an integer from 2 to 4096, got 1"),
    ):
        code, out, err = smoke(tmp_path, *arguments)
        assert (code, out) == (2, "")
        assert words in err
        assert len(err.splitlines()) == 1


def test_key_from_the_environment_is_sent_and_never_printed(tmp_path: Path) -> None:
    seen = []

    def health(reply: Any, body: Any) -> None:
        seen.append(reply.handler.headers["Authorization"])
        reply.json(200, {"status": "ok"})

    with endpoint(health=health, models=html) as url:
        code, out, err = smoke(tmp_path, "--url", url, "--debug", "--json", LEVIATHAN_API_KEY="sk-secret")
        assert code == 8
        smoke(tmp_path, "--url", url)
    assert seen == ["Bearer sk-secret", None]
    assert "sk-secret" not in out + err


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    with endpoint(completion=lambda reply, body: time.sleep(60)) as url:
        process = start(tmp_path, "--url", url)
        assert process.stderr is not None
        assert "passed  health" in process.stderr.readline()
        assert "passed  models" in process.stderr.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert time.monotonic() - began < 30
    assert process.returncode == 130
