"""A node that only stands there: registered, with a heart beat, but with nobody to run its pods."""

import threading
from datetime import UTC, datetime

from . import objects
from .api import STRATEGIC, Api

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class StandingNode:
    """Keeps the node `name` Ready, as its kubelet would, every `beat` seconds; a context manager."""

    def __init__(self, api: Api, name: str = objects.NODE, beat: float = 4.0) -> None:
        self.api = api
        self.name = name
        self.beat = beat
        self.ready = True
        self.told_to_stop = threading.Event()
        self.thread = threading.Thread(target=self.run, name=f"node-{name}", daemon=True)

    def __enter__(self) -> "StandingNode":
        self.tell()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the heart beat; the node controller finds out after its grace period."""
        self.told_to_stop.set()
        if self.thread.ident is not None:
            self.thread.join(timeout=40)

    def tell(self) -> bool:
        """Register the node where it is missing, report its status, renew its lease; whether the server took all."""
        path = f"/api/v1/nodes/{self.name}"
        if self.api.call("GET", path).status == 404:
            self.api.call("POST", "/api/v1/nodes", objects.node(self.name))
        now = datetime.now(UTC)
        status = objects.node_status(self.ready, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        told = self.api.call("PATCH", f"{path}/status", status, STRATEGIC)
        lease = objects.lease(self.name, now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        renewed = self.api.call("PATCH", f"{LEASES}/{self.name}", lease, STRATEGIC)
        if renewed.status == 404:
            renewed = self.api.call("POST", LEASES, lease)
        return told.status == 200 and renewed.status in (200, 201)

    def set_ready(self, ready: bool) -> bool:
        """Report Ready or NotReady from now on; whether the server took it at once."""
        self.ready = ready
        return self.tell()

    def run(self) -> None:
        """The heart beat: it continues through a restart of the API server."""
        while not self.told_to_stop.wait(self.beat):
            self.tell()
