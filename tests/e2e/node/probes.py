"""Startup, readiness and liveness probes of one running container, as pkg/kubelet/prober of Kubernetes 1.34."""

import errno
import http.client
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .netns import Network

Json = dict[str, Any]
KINDS = {"startup": "startupProbe", "readiness": "readinessProbe", "liveness": "livenessProbe"}
_READ_AT_MOST = 10 << 10


@dataclass(frozen=True)
class Results:
    """What the probes of one container report to."""

    started: Callable[[], bool]
    passed: Callable[[str], None]
    failed: Callable[[str], None]
    unhealthy: Callable[[str], None]


class Probe(threading.Thread):
    """One probe of one run of a container, until `stop`."""

    def __init__(self, kind: str, container: Json, network: Network, results: Results) -> None:
        """`kind`: a key of KINDS. `results.passed` and `.failed` get the kind once a threshold is reached,
        `.unhealthy` the text of each failure."""
        super().__init__(daemon=True, name=f"{kind} {container['name']}")
        self._kind, self._container, self._network, self._results = kind, container, network, results
        self._spec: Json = container[KINDS[kind]]
        self._ended = threading.Event()
        self._began = time.monotonic()

    def run(self) -> None:
        """Ask once a period; the other kinds wait until the startup probe has passed."""
        good = bad = 0
        period = float(self._spec.get("periodSeconds", 10))
        while not self._ended.is_set():
            wait = period
            if time.monotonic() - self._began < self._spec.get("initialDelaySeconds", 0):
                wait = 0.2
            elif self._results.started() == (self._kind == "startup"):
                if self._kind == "startup":
                    return
                wait = 0.2
            else:
                failure = ask(self._spec, self._container, self._network)
                if self._ended.is_set():
                    return
                good, bad = (0, bad + 1) if failure else (good + 1, 0)
                if failure:
                    self._results.unhealthy(f"{self._kind.capitalize()} probe failed: {failure}")
                if bad >= self._spec.get("failureThreshold", 3):
                    self._results.failed(self._kind)
                elif good >= self._spec.get("successThreshold", 1):
                    self._results.passed(self._kind)
            self._ended.wait(wait)

    def stop(self) -> None:
        """No further results."""
        self._ended.set()


def ask(spec: Json, container: Json, network: Network) -> str:
    """One probe: "" for success, or why it failed, as Go's net/http words it."""
    timeout = float(spec.get("timeoutSeconds", 1))
    if "tcpSocket" in spec:
        port = port_number(spec["tcpSocket"]["port"], container)
        place = f"{network.address}:{port}"
        try:
            with network.socket() as connection:
                connection.settimeout(timeout)
                connection.connect((network.address, port))
        except OSError as err:
            return f"dial tcp {place}: {_go(err)}"
        return ""
    if "httpGet" in spec:
        return _http(spec["httpGet"], container, network, timeout)
    return "this node's agent knows httpGet and tcpSocket probes only"


def port_number(port: int | str, container: Json) -> int:
    """A port by number or by its name in the container. Errors: ValueError."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for one in container.get("ports", []):
        if one.get("name") == port:
            return int(one["containerPort"])
    raise ValueError(f"couldn't find port: {port}")


def _http(get: Json, container: Json, network: Network, timeout: float) -> str:
    port, scheme = port_number(get["port"], container), get.get("scheme", "HTTP").lower()
    place = f"{network.address}:{port}"
    url = f"{scheme}://{place}{get.get('path', '/')}"
    line = http.client.HTTPConnection(network.address, port, timeout=timeout)
    try:
        connection = network.socket()
        line.sock = connection
        connection.settimeout(timeout)
        try:
            connection.connect((network.address, port))
        except OSError as err:
            return f'Get "{url}": dial tcp {place}: {_go(err)}'
        if scheme == "https":
            context = ssl._create_unverified_context()
            line.sock = context.wrap_socket(connection)
        headers = {h["name"]: h["value"] for h in get.get("httpHeaders", [])}
        line.request(
            "GET", get.get("path", "/"), headers={"User-Agent": "kube-probe/1.34", "Connection": "close"} | headers
        )
        answer = line.getresponse()
        answer.read(_READ_AT_MOST)
    except TimeoutError:
        return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    except (http.client.HTTPException, OSError) as err:
        text = _go(err) if isinstance(err, OSError) and err.errno else "EOF"
        return f'Get "{url}": {text}'
    finally:
        line.close()
    return "" if 200 <= answer.status < 400 else f"HTTP probe failed with statuscode: {answer.status}"


def _go(err: OSError) -> str:
    if isinstance(err, TimeoutError):
        return "i/o timeout"
    words = {errno.ECONNREFUSED: "connect: connection refused", errno.ECONNRESET: "read: connection reset by peer"}
    return words.get(err.errno or 0, str(err))
