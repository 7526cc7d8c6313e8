"""A Kubernetes API server that replays: real HTTP on 127.0.0.1, answers from recordings of a real one.

A recording is a JSON file, a list of exchanges (`record_api.py` writes them):

    [{"method": "GET", "path": "/api/v1/namespaces/ai", "query": {"limit": "500"}, "sent": {...},
      "answer": {"status": 200, "headers": {"Warning": ["299 - \\"text\\""]}, "body": {...}}}]

A request is answered by the exchanges with its method and path whose `query` is part of its own, in their order; the
last one stays. One that fits none gets a 501, and `unexpected` has it. `answer` may also have `text` instead of `body`,
or `lines` (sent one by one as chunks: a watch's events as objects, a log's lines as texts), and for faults `after_s`
(wait first), `between_s` (wait before each line), `cut` (break the connection instead of ending it well).
"""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ANSWERS = Path(__file__).parents[1] / "answers"


@dataclass(frozen=True)
class Answer:
    """What the server says to one request; the fields are those of a recording's `answer`."""

    status: int = 200
    body: Any = None
    text: str | None = None
    lines: tuple[Any, ...] | None = None
    headers: Mapping[str, list[str]] = field(default_factory=dict)
    after_s: float = 0.0
    between_s: float = 0.0
    cut: bool = False


@dataclass(frozen=True)
class Exchange:
    """A request and its answer; `query` is what the request's query must have at least."""

    method: str
    path: str
    answer: Answer
    query: Mapping[str, str] = field(default_factory=dict)
    sent: Any = None


@dataclass(frozen=True)
class ApiRequest:
    """A request that came in: `headers` by their names in lower case, `body` is its JSON, or None."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


def read_recording(path: Path) -> list[Exchange]:
    """The exchanges of a recording."""
    found = []
    for each in json.loads(path.read_text(encoding="utf-8")):
        answer = dict(each["answer"])
        if "lines" in answer:
            answer["lines"] = tuple(answer["lines"])
        found.append(Exchange(each["method"], each["path"], Answer(**answer), each.get("query", {}), each.get("sent")))
    return found


class ReplayApi:
    """The server; `asked` has every request in order, `unexpected` those that no exchange fits."""

    def __init__(self, exchanges: Iterable[Exchange] = (), tls: ssl.SSLContext | None = None) -> None:
        self.exchanges = list(exchanges)
        self.asked: list[ApiRequest] = []
        self.unexpected: list[ApiRequest] = []
        self._used: set[int] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        owner = self

        class Handler(_Handler):
            replay = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def add(self, method: str, path: str, *answers: Answer, **query: str) -> None:
        """Answer such requests with `answers`, one after the other; the last one stays."""
        self.exchanges += [Exchange(method, path, each, query) for each in answers]

    def lines(self, *, without: str = "") -> list[str]:
        """The requests as `METHOD path`, without those that begin with `without`."""
        return [each.line for each in self.asked if not without or not each.line.startswith(without)]

    def kubeconfig(self, folder: Path, *, ca_file: Path | None = None, token: str = "a-token") -> Path:
        """Write a kubeconfig for this server, with the contexts `replay` (current) and `other`, and return its path."""
        cluster: dict[str, Any] = {"server": self.address}
        if ca_file is not None:
            cluster["certificate-authority"] = str(ca_file)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "replay",
            "clusters": [{"name": "replay", "cluster": cluster}],
            "users": [{"name": "replay", "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": "replay", "user": "replay"}} for name in NAMES],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        return path

    def close(self) -> None:
        """Stop: streams that are still open break."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, asked: ApiRequest) -> Answer:
        """The answer to a request: the first exchange that fits and was not used, else the last that fits."""
        with self._lock:
            self.asked.append(asked)
            fits = [
                place
                for place, each in enumerate(self.exchanges)
                if (each.method, each.path) == (asked.method, asked.path) and each.query.items() <= asked.query.items()
            ]
            if not fits:
                self.unexpected.append(asked)
                return Answer(501, {"kind": "Status", "message": f"no recording fits {asked.line} {asked.query}"})
            chosen = next((place for place in fits if place not in self._used), fits[-1])
            self._used.add(chosen)
            return self.exchanges[chosen].answer

    def wait(self, seconds: float) -> bool:
        """Wait, but not past the end of the server; whether it still runs."""
        return not self._closing.wait(seconds) if seconds else not self._closing.is_set()


NAMES = ("replay", "other")


@contextlib.contextmanager
def replay(*recordings: str, tls: ssl.SSLContext | None = None) -> Iterator[ReplayApi]:
    """A server with the recordings `AREA/NAME` below `answers/`; after the block every request must have been known."""
    server = ReplayApi([each for name in recordings for each in read_recording(ANSWERS / f"{name}.json")], tls)
    try:
        yield server
        assert not server.unexpected, [(each.line, each.query) for each in server.unexpected]
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with kept connections, as the API server has it."""

    replay: ReplayApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        url = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(size) if size else b""
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        asked = ApiRequest(
            self.command,
            url.path,
            query,
            {name.lower(): value for name, value in self.headers.items()},
            json.loads(raw) if raw else None,
        )
        answer = self.replay.answer(asked)
        if not self.replay.wait(answer.after_s) or (answer.cut and answer.lines is None):
            self._break()
            return
        self.send_response(answer.status)
        for name, values in answer.headers.items():
            for value in values:
                self.send_header(name, value)
        if answer.lines is not None:
            self._stream(answer)
            return
        body = answer.text if answer.text is not None else json.dumps(answer.body)
        self.send_header("Content-Type", "text/plain" if answer.text is not None else "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def _stream(self, answer: Answer) -> None:
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for each in answer.lines or ():
            line = (each if isinstance(each, str) else json.dumps(each)).encode() + b"\n"
            if not self.replay.wait(answer.between_s):
                self._break()
                return
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.flush()
        if answer.cut:
            self._break()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _break(self) -> None:
        self.close_connection = True

    def handle(self) -> None:
        """Serve; a client that goes away is not an error."""
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve


def until(condition: Any, seconds: float = 5.0) -> bool:
    """Wait until `condition()` is true; whether it came true in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())
