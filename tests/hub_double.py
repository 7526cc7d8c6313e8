"""A hub and file server on 127.0.0.1 that can cut, stall, lie about sizes, change files and limit its rate."""

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REPOSITORY = "lab/model-GGUF"
COMMIT = "a" * 40


@dataclass
class Faults:
    """What goes wrong. `cuts`: answers that end after `cut_after` bytes; `stalls`: answers that stop there for
    `stall_s`; `refusals`: statuses for the next requests of files; `listed`: sizes and `digests` that the list says
    instead of the right ones; `ranges`: whether parts are sent; `rate`: bytes a second of one connection, 0: any."""

    cuts: int = 0
    stalls: int = 0
    cut_after: int = 5000
    stall_s: float = 3.0
    refusals: list[int] = field(default_factory=list)
    listed: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    rate: int = 0
    token: str = ""
    moved_to: str = ""


class HubDouble:
    """The server. `files`: path → content; `sent`: bytes of file content sent so far; `asked`: path and headers."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.faults = Faults()
        self.sent = 0
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            hub = owner

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def take(self, name: str) -> bool:
        """Whether one of a fault's numbers is left; it is one less then."""
        with self.lock:
            left = getattr(self.faults, name)
            setattr(self.faults, name, max(0, left - 1))
        return bool(left)

    def etag(self, path: str) -> str:
        return f'"{hashlib.md5(self.files[path], usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    hub: HubDouble
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        faults = self.hub.faults
        if faults.token and self.headers.get("Authorization") != f"Bearer {faults.token}":
            self._plain(401, b"this repository is gated")
        elif path.startswith(f"/api/models/{REPOSITORY}/revision/"):
            self._json({"sha": COMMIT})
        elif path.startswith(f"/api/models/{REPOSITORY}/tree/{COMMIT}"):
            self._tree()
        elif match := re.fullmatch(rf"(?:/{REPOSITORY}/resolve/{COMMIT}|/files)/(.+)", path):
            if faults.moved_to and not self.path.endswith("?moved"):
                self.send_response(302)
                self.send_header("Location", f"{faults.moved_to}/files/{match[1]}?moved")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif match[1] in self.hub.files:
                self._file(match[1])
            else:
                self._plain(404, b"no such file")
        else:
            self._plain(404, b"Repository not found")

    def _tree(self) -> None:
        """Two pages, as the hub sends long lists."""
        faults, paths = self.hub.faults, sorted(self.hub.files)
        second = "cursor=2" in self.path
        entries: list[dict[str, object]] = [{"type": "directory", "path": "Q4"}]
        for path in paths[len(paths) // 2 :] if second else paths[: len(paths) // 2]:
            content = self.hub.files[path]
            size = faults.listed.get(path, len(content))
            digest = faults.digests.get(path, hashlib.sha256(content).hexdigest())
            entry: dict[str, object] = {"type": "file", "path": path, "size": size}
            if path.endswith(".gguf"):
                entry["lfs"] = {"oid": digest, "size": size, "pointerSize": 134}
            entries.append(entry)
        link = {} if second else {"Link": f'<{self.hub.address}{self.path}&cursor=2>; rel="next"'}
        self._json(entries, link)

    def _file(self, path: str) -> None:
        hub, faults, content = self.hub, self.hub.faults, self.hub.files[path]
        with hub.lock:
            refusal = faults.refusals.pop(0) if faults.refusals else 0
        if refusal:
            self._plain(refusal, b"later", {"Retry-After": "0"})
            return
        first, last, status = 0, len(content) - 1, 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, hub.etag(path))
        if wanted and faults.ranges and same:
            first, last, status = int(wanted[1]), min(int(wanted[2]), last), 206
            if first >= len(content):
                self._plain(416, b"beyond the end")
                return
        body = memoryview(content)[first : last + 1]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", hub.etag(path))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        probe = len(body) <= 1
        if not probe and hub.take("cuts"):
            self._send(body[: faults.cut_after])
            self.close_connection = True
            return
        if not probe and hub.take("stalls"):
            self._send(body[: faults.cut_after])
            time.sleep(faults.stall_s)
            self.close_connection = True
            return
        self._send(body)

    def _send(self, body: memoryview) -> None:
        step = 64 << 10 if self.hub.faults.rate else 1 << 20
        began = time.monotonic()
        for at in range(0, len(body), step):
            piece = body[at : at + step]
            try:
                self.wfile.write(piece)
            except OSError:
                self.close_connection = True
                return
            with self.hub.lock:
                self.hub.sent += len(piece)
            if self.hub.faults.rate:
                time.sleep(max(0.0, (at + len(piece)) / self.hub.faults.rate - (time.monotonic() - began)))

    def _json(self, content: object, headers: dict[str, str] | None = None) -> None:
        self._plain(200, json.dumps(content).encode(), headers)

    def _plain(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
