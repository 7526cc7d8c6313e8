"""A headless Chromium, spoken to in its own protocol (Chrome DevTools Protocol) over a pair of pipes.

With `--remote-debugging-pipe` the browser reads JSON messages from file descriptor 3 and writes them to 4, each ended
by a zero byte: no port is opened, and no driver is needed.
"""

import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE = 30.0
# Chromium's own traffic is off, and no name is looked up: the tests contact loopback addresses alone.
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def find_chromium() -> str:
    """The program. Errors: AssertionError that says how to install it."""
    path = shutil.which("chromium")
    assert path is not None, "chromium is not installed: run scripts/setup check-host"
    return path


def _high_pipe() -> tuple[int, int]:
    """A pipe whose ends are above the descriptors 3 and 4."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]


class Browser:
    """One browser with one page. `problems` collects what its console, its scripts and its policies complain about."""

    def __init__(self, folder: Path) -> None:
        """Starts it with an empty profile in `folder`."""
        to_browser, self._out = _high_pipe()
        self._in, from_browser = _high_pipe()
        # The shell moves the pipes to the descriptors that Chromium expects.
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        argv = ["bash", "-c", script, find_chromium(), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self._log = folder / "chromium.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                argv, pass_fds=(to_browser, from_browser), env=environment, stdout=log, stderr=log
            )
        os.close(to_browser)
        os.close(from_browser)
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._number = 0
        self._session = ""
        self.problems: list[str] = []
        self.addresses: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result. Errors: AssertionError with the browser's own words."""
        self._number += 1
        number = self._number
        self._answers[number] = queue.SimpleQueue()
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        try:
            answer = self._answers[number].get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"{method}: no answer; {self._log.read_text(errors='replace')[-2000:]}") from None
        finally:
            del self._answers[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer.get("result", {})
        return result

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Waits until a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"not true after {PATIENCE} s: {script}; {self.problems}"
            time.sleep(0.05)

    def open(self, url: str) -> None:
        """Goes to `url`, and waits until its scripts have run."""
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """Presses and releases a key; `code` is its Windows key code, as the protocol wants it."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)
            text = {}

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The window's size in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def scheme(self, name: str) -> None:
        """`light` or `dark`, as the user's system has it."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """Ends the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)

    def _listen(self) -> None:
        held = b""
        while piece := os.read(self._in, 1 << 16):
            *messages, held = (held + piece).split(b"\0")
            for message in messages:
                self._hear(json.loads(message))
        os.close(self._in)

    def _hear(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case None:
                if (waiting := self._answers.get(message["id"])) is not None:
                    waiting.put(message)
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(params["exceptionDetails"])[:500])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Runtime.consoleAPICalled":
                self.problems.append(json.dumps(params["args"])[:500])
            case "Network.requestWillBeSent":
                self.addresses.append(params["request"]["url"])
