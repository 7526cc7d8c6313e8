"""Debian's Prometheus and promtool, on the loopback, for what the tool renders for it."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

PATIENCE = 60.0


def find(name: str) -> str:
    """The program. Errors: AssertionError that says how to install it."""
    path = shutil.which(name)
    assert path is not None, f"{name} is not installed: run scripts/setup check-host"
    return path


def promtool(*words: str | Path) -> str:
    """What promtool says. Errors: AssertionError with it when it fails."""
    done = subprocess.run([find("promtool"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """A running server; `config` is its configuration, as YAML's JSON part."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        file = folder / "prometheus.yml"
        file.write_text(json.dumps(config), encoding="utf-8")
        promtool("check", "config", file)
        argv = [find("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([*argv, f"--web.listen-address=127.0.0.1:{port}"], stderr=log, stdout=log)

    def get(self, path: str, **query: str) -> Any:
        """The `data` of an answer of its API. Errors: OSError, AssertionError."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        return document["data"]

    def series(self, query: str) -> list[dict[str, Any]]:
        """What a query gives now."""
        found: list[dict[str, Any]] = self.get("query", query=query)["result"]
        return found

    def until(self, query: str) -> list[dict[str, Any]]:
        """What a query gives once it gives anything. Errors: AssertionError after PATIENCE seconds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self.process.poll() is None, self._log.read_text(encoding="utf-8")
            try:
                if found := self.series(query):
                    return found
            except OSError:
                pass  # it starts
            time.sleep(0.2)
        targets = self.get("targets")["activeTargets"]
        raise AssertionError(f"{query} has no series; targets: {[(t['health'], t['lastError']) for t in targets]}")

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(PATIENCE)
