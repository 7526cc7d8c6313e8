"""The kubelet's HTTPS port: container logs and port-forwards, which the API server passes on, and health.

Source: pkg/kubelet/server/server.go and kubelet_pods.go (validateContainerLogStatus) of Kubernetes 1.34.
"""

import datetime
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from self_signed import self_signed

from . import logs, port_forward
from .events import rfc3339


class NoLog(Exception):
    """Why there is no log: an HTTP status and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


#: (namespace, pod, container, previous) → the log's file, and whether the run is over. Errors: NoLog.
Find = Callable[[str, str, str, bool], tuple[Path, Callable[[], bool]]]


#: (namespace, pod, port) → a connection to it. Errors: NoLog, OSError.
Dial = Callable[[str, str, int], socket.socket]


class KubeletServer(ThreadingHTTPServer):
    """Serves until `shutdown`."""

    daemon_threads = True

    def __init__(
        self,
        address: str,
        port: int,
        find: Find,
        client_ca: Path | None,
        certificate: tuple[Path, Path] | None,
        dial: Dial,
    ) -> None:
        """`port` 0 takes a free one; `client_ca`: who may ask must have a certificate of this authority;
        `certificate`: ours and its key, None for a self-signed one."""
        self.find, self.dial = find, dial
        if certificate is None:
            self._context = _tls(address)
        else:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        if client_ca is not None:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        super().__init__((address, port), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake is done here, in the request's own thread: a slow client stops nobody else."""
        request.settimeout(10)
        try:
            wrapped = self._context.wrap_socket(request, server_side=True)
        except OSError:
            return
        wrapped.settimeout(None)
        try:
            super().finish_request(wrapped, client_address)
        except OSError:
            return  # the client has gone
        finally:
            wrapped.close()


class _Handler(BaseHTTPRequestHandler):
    server: KubeletServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """/containerLogs/NAMESPACE/POD/CONTAINER and /healthz."""
        url = urlsplit(self.path)
        words = [unquote(word) for word in url.path.strip("/").split("/")]
        if words == ["healthz"]:
            self._text(200, "ok")
        elif words[0] == "containerLogs" and len(words) == 4:
            try:
                wanted, previous = _wanted({key: values[-1] for key, values in parse_qs(url.query).items()})
                path, ended = self.server.find(words[1], words[2], words[3], previous)
            except NoLog as err:
                self._text(err.status, str(err))
                return
            self._stream(logs.read(path, wanted, ended))
        elif words[0] == "portForward" and len(words) == 3 and "websocket" in self.headers.get("Upgrade", ""):
            port = int(parse_qs(url.query)["port" if "port=" in url.query else "ports"][0])
            port_forward.serve(self, port, lambda: self._dial(words[1], words[2], port))
        else:
            self._refuse()

    def _dial(self, namespace: str, pod: str, port: int) -> socket.socket:
        try:
            return self.server.dial(namespace, pod, port)
        except NoLog as err:
            raise OSError(str(err)) from None

    def _refuse(self) -> None:
        self._text(501, f"this node's agent does not do {self.command} {urlsplit(self.path).path}")

    do_POST = do_PUT = _refuse

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are not worth a line."""

    def _text(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, pieces: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def waiting(container: str, pod: str, reason: str) -> NoLog:
    """Why a container that waits has no log, in kubelet's words."""
    words = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}
    text = f'container "{container}" in pod "{pod}" is waiting to start: {words.get(reason, reason)}'
    return NoLog(400, text)


def _wanted(query: dict[str, str]) -> tuple[logs.Wanted, bool]:
    def number(name: str) -> int | None:
        return int(query[name]) if name in query else None

    try:
        seconds, since = number("sinceSeconds"), query.get("sinceTime", "")
        if seconds is not None:
            since = rfc3339(datetime.datetime.now(datetime.UTC).timestamp() - seconds)
        wanted = logs.Wanted(
            tail=number("tailLines"),
            since=since,
            timestamps=query.get("timestamps") in ("true", "1"),
            follow=query.get("follow") in ("true", "1"),
            limit=number("limitBytes"),
        )
    except ValueError as err:
        raise NoLog(400, '{"message": "Unable to decode query."}') from err
    return wanted, query.get("previous") in ("true", "1")


def _tls(address: str) -> ssl.SSLContext:
    """A self-signed certificate for this run, as a kubelet makes when it is given none."""
    certificate, key = self_signed("leviathan test node", address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(certificate + key)
        pair.flush()
        context.load_cert_chain(pair.name)
    return context
