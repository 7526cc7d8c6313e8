"""What runs the node: the agent of the harness, or another; the rest of the whole way asks no further."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from e2e.control_plane.plane import ControlPlane
from e2e.node.handle import join
from e2e.node.support import RealRegistry


class Node(Protocol):
    """A node that runs pods."""

    @property
    def ancestor(self) -> int:
        """A process from which every process of its pods descends, and no other engine's."""

    def not_ready(self) -> None:
        """The node says NotReady, if not at once; its pods keep running."""

    def ready(self) -> None:
        """The node says Ready, if not at once."""


#: Of a control plane, its registry, a folder, and the port of the loopback hub that pods are to reach.
Join = Callable[[ControlPlane, RealRegistry, Path, int], AbstractContextManager[Node]]


@dataclass(frozen=True)
class Mode:
    """One way to have a node.

    Arguments: `join`, which makes a node of the control plane, in a folder; `site`, more keys of the site's sections;
    `facts`, for the report; `devices`, whether a device plugin gives the pod its GPUs; `outward`,
    whether pods reach the hub on the machine's loopback.
    """

    join: Join
    facts: dict[str, str]
    outward: bool = False
    site: dict[str, dict[str, Any]] = field(default_factory=dict)
    devices: bool = False


ENGINE = (
    "the engine runs on the CPU, with the replacements of tests/engine in one layer on top of the built image; the "
    "weights are random"
)
AGENT = Mode(
    join=lambda plane, _registry, folder, hub: join(plane, folder, "--quick", "--outward", str(hub)),
    outward=True,
    facts={"what is not real": f"no GPU: the node announces 2 nvidia.com/gpu without cards, {ENGINE}"},
)
