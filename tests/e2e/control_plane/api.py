"""A small client of the API server over the standard library: the harness must not lean on the code that it tests."""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .certificates import Pair
from .errors import ControlPlaneError
from .settings import LOOPBACK

Json = dict[str, Any]
JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its status, 0 when nothing answered, and its body."""

    status: int
    body: bytes

    def json(self) -> Json:
        """The body as an object. Errors: ValueError when it is none."""
        value: Json = json.loads(self.body)
        return value


class Api:
    """Calls to a server on loopback; `user` is a client certificate or None for nobody."""

    def __init__(self, port: int, authority: Path, user: Pair | None = None) -> None:
        self.port = port
        self.context = ssl.create_default_context(cafile=str(authority))
        if user:
            self.context.load_cert_chain(user.certificate, user.key)

    def call(
        self, method: str, path: str, body: Json | None = None, content_type: str = JSON, timeout: float = 30.0
    ) -> Answer:
        """One request; a server that does not answer within `timeout` seconds gives status 0, never an exception."""
        line = http.client.HTTPSConnection(LOOPBACK, self.port, timeout=timeout, context=self.context)
        try:
            sent = json.dumps(body) if body is not None else None
            line.request(method, path, sent, {"Content-Type": content_type} if sent else {})
            answer = line.getresponse()
            return Answer(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, str(error).encode())
        finally:
            line.close()

    def get(self, path: str) -> Json | None:
        """An object, or None when there is none. Errors: ControlPlaneError for any other answer."""
        answer = self.call("GET", path)
        return None if answer.status == 404 else self.checked(answer, "GET", path)

    def send(self, method: str, path: str, body: Json | None = None, content_type: str = JSON) -> Json:
        """The object that the server answers with. Errors: ControlPlaneError unless the status is 2xx."""
        return self.checked(self.call(method, path, body, content_type), method, path)

    def apply(self, path: str, body: Json) -> Json:
        """Server-side apply, by the field manager `e2e`. Errors: ControlPlaneError."""
        return self.send("PATCH", f"{path}?fieldManager=e2e&force=true", body, APPLY)

    def checked(self, answer: Answer, method: str, path: str) -> Json:
        """The body of a 2xx answer. Errors: ControlPlaneError with the server's own words."""
        if 200 <= answer.status < 300:
            return answer.json()
        words = answer.body.decode("utf-8", "replace")[:300]
        raise ControlPlaneError(f"{method} {path}: status {answer.status}: {words}")


def healthy(port: int, authority: Path | None, path: str = "/healthz") -> bool:
    """Whether a server on loopback answers `path` with 200; over TLS by `authority`, or in the clear with None."""
    if authority:
        return Api(port, authority).call("GET", path, timeout=5).status == 200
    line = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        line.request("GET", path)
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def wait(what: str, ready: Callable[[], bool], seconds: float, pause: float = 0.2) -> float:
    """Wait until `ready()`; the seconds that it took. Errors: ControlPlaneError that names `what` after `seconds`."""
    begun = time.monotonic()
    while not ready():
        if time.monotonic() - begun > seconds:
            raise ControlPlaneError(f"{what} was not so within {seconds:.0f} s")
        time.sleep(pause)
    return time.monotonic() - begun
