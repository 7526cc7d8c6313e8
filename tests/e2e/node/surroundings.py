"""What all pods of one node share."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .api import Api, Json
from .events import Recorder
from .images import ImageStore
from .netns import HostNetwork, Network, PodNetwork
from .timing import Timing
from .ways import Way


@dataclass
class Surroundings:
    """The node as its pods see it.

    `admit` gives (reason, message) for a pod that has no room here, else None; `outward`: ports of the node's loopback
    that a pod reaches on its own.
    """

    name: str
    address: str
    api: Api
    root: Path
    images: ImageStore
    recorder: Recorder
    timing: Timing
    talk: Callable[[str], None]
    admit: Callable[[Json], tuple[str, str] | None]
    outward: tuple[int, ...] = ()
    networks: dict[str, Network] = field(default_factory=dict)
    pulls: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "pull"))

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._ways: dict[str, list[Way]] = {}

    def network(self, pod: Json) -> Network:
        """The pod's network, with an address of its own. Errors: OSError."""
        if pod["spec"].get("hostNetwork"):
            return HostNetwork(self.address)
        with self._lock:
            address = next(a for a in (f"10.244.0.{n}" for n in range(2, 255)) if a not in self.networks)
            self.networks[address] = made = PodNetwork(address)
            self._ways[address] = [Way(made, port) for port in self.outward]
        return made

    def release(self, network: Network) -> None:
        """The pod is gone."""
        with self._lock:
            self.networks.pop(network.address, None)
            for way in self._ways.pop(network.address, ()):
                way.close()
        network.close()
