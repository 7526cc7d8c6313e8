"""Reads images from a registry (OCI distribution API over HTTP); errors are worded as containerd words them.

Source of the wording: containerd's core/remotes/docker resolver and fetcher, as kubelet's events show it.
"""

import base64
import errno
import hashlib
import json
import re
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import httpx

from .reference import Reference

Json = dict[str, Any]
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
Credentials = Mapping[str, tuple[str, str]]


class PullError(Exception):
    """What the container runtime says about a failed pull: a gRPC code's name and a description."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {text}")
        self.code, self.text = code, text


class Registry:
    """One image in one registry."""

    def __init__(self, image: Reference, plain: Collection[str], credentials: Credentials) -> None:
        """`plain`: the hosts that are spoken to without TLS; loopback always is, as containerd does.
        `credentials`: host → (user, password), from the pod's pull secrets."""
        self._image = image
        loopback = image.host.rpartition(":")[0] in ("127.0.0.1", "localhost")
        scheme = "http" if loopback or image.host in plain else "https"
        self._base = f"{scheme}://{image.host}/v2/{image.repository}"
        login = credentials.get(image.host)
        self._login = bool(login)
        headers = {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()} if login else {}
        self._http = httpx.Client(headers=headers, timeout=30, trust_env=False, follow_redirects=True)

    def manifest(self) -> tuple[str, Json, bytes]:
        """(digest, manifest, its bytes) for linux/amd64. Errors: PullError."""
        prefix = f'failed to resolve reference "{self._image}": '
        url = f"{self._base}/manifests/{self._image.name}"
        accept = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}
        head = self._send("HEAD", url, accept, prefix)
        digest = self._image.digest or head.headers.get("Docker-Content-Digest", "")
        data = self._read(f"{self._base}/manifests/{digest or self._image.name}", accept, digest, "manifest")
        digest = digest or "sha256:" + hashlib.sha256(data).hexdigest()
        document = self._json(data)
        if "manifests" in document:
            chosen = next((m for m in document["manifests"] if _fits(m.get("platform", {}))), None)
            if chosen is None:
                raise self._error("NotFound", f"no match for platform in manifest {digest}: not found")
            data = self._read(f"{self._base}/manifests/{chosen['digest']}", accept, chosen["digest"], "manifest")
            document = self._json(data)
        return digest, document, data

    def config(self, descriptor: Json) -> Json:
        """The image's configuration. Errors: PullError."""
        digest = str(descriptor["digest"])
        return self._json(self._read(f"{self._base}/blobs/{digest}", {}, digest, "config"))

    def blob(self, descriptor: Json, sink: Callable[[bytes], object]) -> None:
        """Streams a layer to `sink` and checks its size and digest afterwards. Errors: PullError."""
        digest, size = str(descriptor["digest"]), int(descriptor["size"])
        url, seen, count = f"{self._base}/blobs/{digest}", hashlib.sha256(), 0
        for piece in self._stream(url):
            seen.update(piece)
            count += len(piece)
            sink(piece)
        name = f'failed commit on ref "layer-{digest}"'
        if count != size:
            text = f"unexpected commit size {count}, expected {size}: failed precondition"
            raise self._error("FailedPrecondition", f"{name}: {text}")
        if f"sha256:{seen.hexdigest()}" != digest:
            text = f"unexpected commit digest sha256:{seen.hexdigest()}, expected {digest}: failed precondition"
            raise self._error("FailedPrecondition", f"{name}: {text}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _error(self, code: str, text: str) -> PullError:
        return PullError(code, f'failed to pull and unpack image "{self._image}": {text}')

    def _json(self, data: bytes) -> Json:
        try:
            return dict(json.loads(data))
        except ValueError as err:
            raise self._error("Unknown", f"failed to unmarshal manifest: {err}") from err

    def _read(self, url: str, headers: dict[str, str], digest: str, kind: str) -> bytes:
        data = self._send("GET", url, headers, "failed to copy: httpReadSeeker: failed open: ").content
        seen = "sha256:" + hashlib.sha256(data).hexdigest()
        if digest and seen != digest:
            text = f'failed commit on ref "{kind}-{digest}": unexpected commit digest {seen}, expected {digest}'
            raise self._error("FailedPrecondition", f"{text}: failed precondition")
        return data

    def _stream(self, url: str) -> Iterator[bytes]:
        prefix = "failed to copy: httpReadSeeker: failed open: "
        try:
            with self._http.stream("GET", url) as answer:
                self._check("GET", url, answer, prefix)
                yield from answer.iter_raw(1 << 20)
        except httpx.HTTPError as err:
            if isinstance(err, httpx.RemoteProtocolError):
                raise self._error("Unavailable", f"failed to copy: {_go(err, url)}") from err
            raise self._error("Unknown", f'{prefix}failed to do request: Get "{url}": {_go(err, url)}') from err

    def _send(self, method: str, url: str, headers: dict[str, str], prefix: str) -> httpx.Response:
        try:
            answer = self._http.request(method, url, headers=headers)
        except httpx.HTTPError as err:
            text = f'{prefix}failed to do request: {method.capitalize()} "{url}": {_go(err, url)}'
            raise self._error("Unknown", text) from err
        self._check(method, url, answer, prefix)
        return answer

    def _check(self, method: str, url: str, answer: httpx.Response, prefix: str) -> None:
        if answer.status_code == 404:
            raise self._error("NotFound", f"{prefix}{self._image}: not found")
        if answer.status_code in (401, 403):
            why = "authorization failed" + ("" if self._login else ": no basic auth credentials")
            text = "pull access denied, repository does not exist or may require authorization: server message: "
            raise self._error("Unknown", f"{prefix}{text}insufficient_scope: {why}")
        if answer.status_code != 200:
            status = f"{answer.status_code} {answer.reason_phrase}"
            raise self._error("Unknown", f"{prefix}unexpected status from {method} request to {url}: {status}")


def _fits(platform: Mapping[str, str]) -> bool:
    return (platform.get("os"), platform.get("architecture")) == ("linux", "amd64")


def _go(err: BaseException, url: str) -> str:
    """The words that Go's net/http has for an error of httpx."""
    host, _, port = httpx.URL(url).netloc.decode().partition(":")
    if not re.fullmatch(r"[0-9.]+", host):
        try:
            host = socket.gethostbyname(host)
        except OSError:
            return f"dial tcp: lookup {host}: no such host"
    dial = f"dial tcp {host}:{port or ('443' if url.startswith('https') else '80')}: "
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            plain = any(word in str(cause) for word in ("WRONG_VERSION", "RECORD_LAYER"))
            return "http: server gave HTTP response to HTTPS client" if plain else f"tls: {cause}"
        if isinstance(cause, OSError) and cause.errno in _CONNECT:
            return dial + _CONNECT[cause.errno]
        cause = cause.__cause__ or cause.__context__
    if isinstance(err, httpx.ConnectTimeout):
        return f"{dial}i/o timeout"
    if isinstance(err, httpx.RemoteProtocolError):
        return "unexpected EOF"
    return str(err) or type(err).__name__


_CONNECT = {
    errno.ECONNREFUSED: "connect: connection refused",
    errno.EHOSTUNREACH: "connect: no route to host",
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.ECONNRESET: "read: connection reset by peer",
}
