"""The requests of the registry in memory: uploads, blobs, manifests, tags, tokens, and the faults in them."""

import base64
import hashlib
import json
import re
import socket
import struct
import time
import uuid
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from .fault_registry import Fault, FaultRegistry

PIECE = 16 << 10


class Handler(BaseHTTPRequestHandler):
    state: "FaultRegistry"
    protocol_version = "HTTP/1.1"
    fault: "Fault | None" = None

    def log_message(self, format: str, *args: Any) -> None:
        """No log."""

    def do_HEAD(self) -> None:
        self.route()

    def do_GET(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.route()

    def do_PATCH(self) -> None:
        self.route()

    def do_PUT(self) -> None:
        self.route()

    def do_DELETE(self) -> None:
        self.route()

    def route(self) -> None:
        state, parts = self.state, urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.left = int(self.headers.get("Content-Length") or 0)
        state.requests.append((self.command, parts.path))
        self.fault = state.fault(self.command, parts.path)
        if parts.path == "/token":
            return self.token()
        if not self.allowed():
            return None
        if self.fault is not None and self.fault.status:
            return self.answer(self.fault.status, self.fault.headers, code=self.fault.code)
        for pattern, handler in (
            (r"/v2/(.+)/blobs/uploads/?", self.start),
            (r"/v2/(.+)/blobs/uploads/([^/]+)", self.upload),
            (r"/v2/(.+)/blobs/(sha256:[0-9a-f]+)", self.blob),
            (r"/v2/(.+)/manifests/([^/]+)", self.manifest),
            (r"/v2/(.+)/tags/list", self.tags),
        ):
            match = re.fullmatch(pattern, parts.path)
            if match is not None:
                return handler(*match.groups())
        return self.answer(200 if parts.path == "/v2/" else 404)

    def answer(
        self, status: int, headers: dict[str, str] | None = None, *, body: bytes = b"", code: str = "", length: int = -1
    ) -> None:
        if self.left > 0 and status != 413:  # a body that nobody reads would be taken for the next request
            self.drain()
        if code:
            body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length if length >= 0 else len(body)))
        if self.left > 0:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drain(self) -> None:
        while self.left > 0:
            data = self.rfile.read(min(PIECE, self.left))
            if not data:
                break
            self.left -= len(data)

    def cut(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()
        raise ConnectionResetError

    def allowed(self) -> bool:
        rules, got = self.state.rules, self.headers.get("Authorization", "")
        if rules.basic and got != "Basic " + base64.b64encode(rules.basic.encode()).decode() and not rules.bearer:
            self.answer(401, {"WWW-Authenticate": 'Basic realm="test"'}, code="UNAUTHORIZED")
            return False
        if rules.bearer and got.removeprefix("Bearer ") not in self.state.tokens:
            realm = f"{self.state.scheme}://{self.state.host}/token"
            challenge = f'Bearer realm="{realm}",service="test",scope="repository:x:pull"'
            self.answer(401, {"WWW-Authenticate": challenge}, code="UNAUTHORIZED")
            return False
        return True

    def token(self) -> None:
        state, got = self.state, self.headers.get("Authorization", "")
        if self.command == "POST":
            form = parse_qs(self.rfile.read(self.left).decode())
            self.left = 0
            good = form.get("refresh_token") == [state.refresh_token] and form.get("grant_type") == ["refresh_token"]
            name = "access_token"
        else:
            good = not state.rules.basic or got == "Basic " + base64.b64encode(state.rules.basic.encode()).decode()
            name = "token"
        if not good:
            return self.answer(401, code="UNAUTHORIZED")
        token = uuid.uuid4().hex
        state.tokens.add(token)
        body = json.dumps({name: token, "expires_in": state.rules.token_life_s}).encode()
        return self.answer(200, body=body)

    def blob(self, repository: str, digest: str) -> None:
        found = self.state.blobs.get((repository, digest))
        if found is None:
            return self.answer(404, code="BLOB_UNKNOWN")
        named = self.fault.digest if self.fault is not None and self.fault.digest else digest
        headers = {"Docker-Content-Digest": named}
        return self.answer(200, headers, body=found if self.command == "GET" else b"", length=len(found))

    def start(self, repository: str) -> None:
        state, wanted = self.state, self.query.get("mount", "")
        source = state.blobs.get((self.query.get("from", ""), wanted))
        if source is not None:
            state.blobs[repository, wanted] = source
            return self.answer(201, {"Location": f"/v2/{repository}/blobs/{wanted}", "Docker-Content-Digest": wanted})
        name = uuid.uuid4().hex
        with state.lock:
            state.uploads[name] = bytearray()
        return self.answer(202, self.where(repository, name))

    def where(self, repository: str, name: str) -> dict[str, str]:
        count = len(self.state.uploads[name])
        state = f"?_state={count}" if self.state.rules.offset_in_location else ""
        headers = {
            "Location": f"/v2/{repository}/blobs/uploads/{name}{state}",
            "Range": f"0-{max(count - 1, 0)}",
        }
        if self.state.rules.min_chunk:
            headers["OCI-Chunk-Min-Length"] = str(self.state.rules.min_chunk)
        return headers

    def upload(self, repository: str, name: str) -> None:
        state = self.state
        held = state.uploads.get(name)
        if held is None or ("_state" in self.query and self.query["_state"] != str(len(held))):
            return self.answer(404, code="BLOB_UPLOAD_INVALID")
        if self.command == "GET":
            return self.answer(204, self.where(repository, name))
        if self.command == "DELETE":
            del state.uploads[name]
            return self.answer(204)
        if state.rules.largest_body and self.left > state.rules.largest_body:
            return self.answer(413, code="TOO_LARGE")
        if self.command == "PATCH":
            return self.patch(repository, name, held)
        return self.close(repository, name, held)

    def patch(self, repository: str, name: str, held: bytearray) -> None:
        if not self.state.rules.chunks:
            return self.answer(405, code="UNSUPPORTED")
        start, end = (int(part) for part in self.headers["Content-Range"].split("-"))
        if start != len(held) or end - start + 1 != self.left:
            return self.answer(416, self.where(repository, name), code="RANGE_INVALID")
        self.take(held)
        headers = self.where(repository, name)
        if self.fault is not None and self.fault.short:
            del held[(start + len(held)) // 2 :]
            del headers["Range"]
        return self.answer(202, headers)

    def take(self, held: bytearray) -> None:
        """Read the body into the upload."""
        with self.state.lock:
            self.state.sending += 1
            self.state.most_sending = max(self.state.most_sending, self.state.sending)
        try:
            self.read(held)
        finally:
            with self.state.lock:
                self.state.sending -= 1

    def read(self, held: bytearray) -> None:
        began, fault = len(held), self.fault
        while self.left > 0:
            want = min(PIECE, self.left)
            cutting = fault is not None and fault.cut_at is not None and fault.times > 0
            if cutting and fault is not None and fault.cut_at is not None:
                want = min(want, fault.cut_at - len(held)) if fault.cut_at >= len(held) else want
                if len(held) == fault.cut_at:
                    fault.times -= 1
                    if not fault.keep:
                        del held[began:]
                    self.cut()
            if fault is not None and fault.delay_s:
                time.sleep(fault.delay_s)
            data = self.rfile.read(want)
            if not data:
                raise ConnectionResetError
            self.left -= len(data)
            held += data
            with self.state.lock:
                self.state.taken += len(data)

    def close(self, repository: str, name: str, held: bytearray) -> None:
        state, digest = self.state, self.query["digest"]
        self.take(held)
        actual = f"sha256:{hashlib.sha256(held).hexdigest()}"
        with state.lock:
            del state.uploads[name]
        if actual != digest or state.rules.monolithic_rejects:
            return self.answer(400, code="DIGEST_INVALID")
        state.blobs[repository, digest] = bytes(held)
        named = self.fault.digest if self.fault is not None and self.fault.digest else digest
        if self.fault is not None and self.fault.cut_at == -1:
            self.fault.times -= 1
            self.cut()
        return self.answer(201, {"Docker-Content-Digest": named})

    def manifest(self, repository: str, reference: str) -> None:
        state = self.state
        if self.command == "PUT":
            body = self.rfile.read(self.left)
            self.left = 0
            content = json.loads(body)
            parts = [content["config"], *content["layers"]] if "layers" in content else []
            if any((repository, part["digest"]) not in state.blobs for part in parts):
                return self.answer(404, code="MANIFEST_BLOB_UNKNOWN")
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            for key in {reference, digest}:
                state.manifests[repository, key] = (self.headers["Content-Type"], body)
            named = self.fault.digest if self.fault is not None and self.fault.digest else digest
            return self.answer(201, {"Docker-Content-Digest": named})
        kind, found = state.manifests.get((repository, reference), ("", b""))
        if not found:
            return self.answer(404, code="MANIFEST_UNKNOWN")
        digest = f"sha256:{hashlib.sha256(found).hexdigest()}"
        headers = {"Docker-Content-Digest": digest, "Content-Type": kind}
        return self.answer(200, headers, body=found, length=len(found))

    def tags(self, repository: str) -> None:
        names = sorted(key for name, key in self.state.manifests if name == repository and ":" not in key)
        return self.answer(200, body=json.dumps({"name": repository, "tags": names}).encode())
