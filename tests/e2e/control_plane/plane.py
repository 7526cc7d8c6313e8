"""The control plane as a whole: made ready, hurt in the ways that tests need, taken down."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.background import meanwhile

from . import argv, kubeconfig, objects
from .api import Api, healthy
from .certificates import Authority, Pair
from .part import Part
from .prepare import ports_of, prepare
from .settings import LOOPBACK, Programs, need_free


class ControlPlane:
    """A private control plane in `folder` (made if missing; data of an earlier run in it is used again).

    A context manager: entering starts it and returns when it is ready. `patience` is in seconds, for each part.
    After the start: `api` (an administrator's client), `admin` and `restricted` (kubeconfig files, the second may only
    read pods and deployments), `wrong` (a kubeconfig that the server does not know), `authority` (issues more).
    """

    def __init__(
        self, programs: Programs, folder: Path, times: argv.Times | None = None, patience: float = 180.0
    ) -> None:
        self.folder = folder.resolve()
        self.patience = patience
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ports = ports_of(self.folder)
        self.server = f"https://{LOOPBACK}:{self.ports.api}"
        self.authority = Authority(programs.openssl, self.folder / "pki")
        files = prepare(self.folder, self.ports, self.authority)
        administrator = self.authority.issue("admin", "admin", ["system:masters"])
        self.api = Api(self.ports.api, files.authority, administrator)
        self.admin = self.kubeconfig("admin", administrator)
        self.restricted = self.kubeconfig("restricted", self.authority.issue("restricted", objects.RESTRICTED_USER))
        self.wrong = self.kubeconfig("wrong", "a-token-that-nobody-issued")
        self.etcd = Part("etcd", argv.etcd(programs, self.ports, files), self.folder)
        self.api_server = Part("kube-apiserver", argv.api_server(programs, self.ports, files), self.folder)
        managing = argv.controller_manager(programs, self.ports, files, times or argv.Times())
        self.controllers = Part("kube-controller-manager", managing, self.folder)
        self.scheduler = Part("kube-scheduler", argv.scheduler(programs, self.ports, files), self.folder)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The processes in the order of their start."""
        return (self.etcd, self.api_server, self.controllers, self.scheduler)

    def __enter__(self) -> "ControlPlane":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until each part says that it is ready. Errors: ControlPlaneError."""
        root = self.authority.pair.certificate
        for part in self.parts:
            part.end_earlier()
        need_free(self.ports)
        self.etcd.start()
        self._wait(self.etcd, lambda: healthy(self.ports.etcd, None, "/health"))
        self.api_server.start()
        self._wait(self.api_server, self.ready)
        self.controllers.start()
        self.scheduler.start()
        self._wait(self.controllers, lambda: healthy(self.ports.controllers, root))
        self._wait(self.scheduler, lambda: healthy(self.ports.scheduler, root))
        for path, item in objects.furniture():
            self.api.apply(path, item)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait(self.controllers, lambda: self.api.call("GET", account).status == 200)

    def kubeconfig(self, name: str, user: Pair | str) -> Path:
        """A kubeconfig for `user` (a client certificate or a token), as NAME.kubeconfig in the folder."""
        target = self.folder / f"{name}.kubeconfig"
        return kubeconfig.write(target, self.server, self.authority.pair.certificate, user)

    def stop(self) -> None:
        """End every process, the last started first."""
        for part in reversed(self.parts):
            part.stop()

    def ready(self) -> bool:
        """Whether the API server says so itself."""
        return self.api.call("GET", "/readyz", timeout=5).status == 200

    def node_is_ready(self) -> bool:
        """Whether the API has the node, as Ready."""
        node = self.api.get(f"/api/v1/nodes/{objects.NODE}") or {"status": {}}
        return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))

    def restart_api_server(self, *, kill: bool = False, away: float = 0.0) -> float:
        """End the API server (with `kill`, without a good-bye), start it `away` seconds later, wait until it is ready.

        Gives the seconds in which there was none. Errors: ControlPlaneError when it does not come back.
        """
        begun = time.monotonic()
        if kill:
            self.api_server.kill()
        else:
            self.api_server.stop()
        time.sleep(away)
        self.api_server.start()
        self._wait(self.api_server, self.ready)
        return time.monotonic() - begun

    @contextmanager
    def slow_etcd(self, stopped: float = 0.8, running: float = 0.2) -> Iterator[None]:
        """etcd is stopped for `stopped` seconds of every `stopped + running`, as on a disk that stalls."""

        def stall() -> None:
            self.etcd.pause()
            try:
                time.sleep(stopped)
            finally:
                self.etcd.resume()

        with meanwhile(stall, running):
            yield

    def _wait(self, part: Part, ready: Callable[[], bool]) -> None:
        """Wait for `ready`. Errors: ControlPlaneError with the part's last words when it ends or is not in time."""
        part.wait_for(f"{part.name} ready", ready, self.patience)
