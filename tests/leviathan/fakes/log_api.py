"""An API server with one pod: its log as a kubelet serves it, and commands run in it for real, in a local folder.

Source: Kubernetes API, `pods/log` (follow, timestamps, sinceTime in whole seconds, previous) and `pods/exec` over a
WebSocket (RFC 6455) with the subprotocol v4.channel.k8s.io.
"""

import base64
import contextlib
import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SPACE, NAME = "lab-model", "sysadmin-logistics"
POD = f"/api/v1/namespaces/{SPACE}/pods/{NAME}"


class LogApi:
    """The server. `pod` is the pod's object, None: not there; `lines` of its log, each with its time before it,
    `rest`, one that has not ended yet; `previous`, those of the run before; `ended`, whether its container has ended.

    Faults: `cuts`, after how many bytes each answer breaks, in their order; `silent`, followed logs stay open but are
    dead; `statuses`, answered to requests for the log, in their order; `engine`, a pod of the engine to list.
    """

    def __init__(self, pod: dict[str, Any] | None) -> None:
        self.pod = pod
        self.lines: list[str] = []
        self.rest = ""
        self.previous: list[str] = []
        self.ended = False
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.silent = False
        self.engine: dict[str, Any] | None = None
        self.asked: list[dict[str, str]] = []
        self.commands: list[tuple[str, str, list[str]]] = []
        self.closing = threading.Event()
        owner = self

        class Handler(_Handler):
            api = owner

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    @contextlib.contextmanager
    def serve(self) -> Iterator["LogApi"]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self.server.shutdown()
            self.server.server_close()
            thread.join()

    def kubeconfig(self, folder: Path) -> Path:
        path = folder / "kubeconfig"
        content = {
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": self.address}}],
            "users": [{"name": "lab", "user": {"token": "a-token"}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        }
        path.write_text(json.dumps(content))
        return path

    def end_line(self) -> None:
        """The line under way ends."""
        line, self.rest = self.rest, ""
        self.lines.append(line)

    def write(self, text: str, when: str = "") -> None:
        """Append a line to the log."""
        stamp = when or f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}.{len(self.lines):09d}Z"
        self.lines.append(f"{stamp} {text}")


class _Handler(BaseHTTPRequestHandler):
    api: LogApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        given = parse_qs(url.query)
        query = {key: values[-1] for key, values in given.items()}
        if url.path == f"{POD}/log":
            self._log(query)
        elif url.path.endswith("/exec"):
            self._exec(url.path, query, given.get("command", []))
        elif url.path == POD:
            self._json(self.api.pod)
        elif url.path.endswith("/pods"):
            self._json({"apiVersion": "v1", "kind": "PodList", "items": [self.api.engine] if self.api.engine else []})
        else:
            self._json({"gitVersion": "v1.34.4"})

    def _json(self, content: Any, status: int = 200) -> None:
        if content is None:
            status, content = 404, {"kind": "Status", "message": "not found", "reason": "NotFound", "code": 404}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _log(self, query: dict[str, str]) -> None:
        api = self.api
        api.asked.append(query)
        if api.statuses:
            status = api.statuses.pop(0)
            if status != 200:
                return self._json({"kind": "Status", "message": "no log", "code": status}, status)
        cut = api.cuts.pop(0) if api.cuts else None
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        for piece in self._pieces(query):
            if cut is not None and sent + len(piece) > cut:
                self._chunk(piece[: cut - sent])
                self.close_connection = True
                return None
            self._chunk(piece)
            sent += len(piece)
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _pieces(self, query: dict[str, str]) -> Iterator[bytes]:
        api, since = self.api, query.get("sinceTime", "")[:19]
        source = api.previous if query.get("previous") == "true" else api.lines
        place = shown = 0  # `shown` bytes of the line at `place` were sent before it had its end
        while True:
            over = api.ended or query.get("follow") != "true" or source is api.previous
            while place < len(source):
                if source[place][:19] >= since:
                    yield source[place].encode()[shown:] + b"\n"
                place, shown = place + 1, 0
            rest = api.rest.encode() if source is api.lines and api.rest[:19] >= since else b""
            if len(rest) > shown:
                yield rest[shown:]
                shown = len(rest)
            if over:
                return
            while api.silent and not api.closing.wait(0.02):
                pass
            if api.closing.wait(0.01):
                return

    def _chunk(self, piece: bytes) -> None:
        if piece:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()

    def _exec(self, path: str, query: dict[str, str], command: list[str]) -> None:
        """Run the command here and send what it prints. Frames are not masked, as servers do it."""
        if self.api.statuses:
            return self._json({"kind": "Status", "message": "forbidden"}, self.api.statuses.pop(0))
        self.api.commands.append((path, query.get("container", ""), command))
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        for place in range(0, len(done.stdout), 1000):
            self._frame(1, done.stdout[place : place + 1000])
        self._frame(2, done.stderr)
        status: dict[str, Any] = {"kind": "Status", "status": "Success"}
        if done.returncode:
            cause = {"reason": "ExitCode", "message": str(done.returncode)}
            status |= {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
        self._frame(3, json.dumps(status).encode())
        self.wfile.write(b"\x88\x02\x03\xe8")  # close, 1000
        self.close_connection = True
        return None

    def _frame(self, channel: int, payload: bytes) -> None:
        body = bytes([channel]) + payload
        head = bytes([0x82, len(body)]) if len(body) < 126 else b"\x82\x7e" + len(body).to_bytes(2, "big")
        self.wfile.write(head + body)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
