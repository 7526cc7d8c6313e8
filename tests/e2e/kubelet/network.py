"""The network of the run's namespace: loopback, and a pair of ends of a cable so that the node has an address."""

from pathlib import Path

from e2e.scenarios.errors import run

ADDRESS = "10.250.0.1"  # the node's: a kubelet refuses a loopback address
GATEWAY = "10.250.0.2"  # nobody has it; kube-proxy and the bridge want a default route
PODS = "10.244.0.0/24"


def make() -> None:
    """Bring it up inside a network namespace of its own. Errors: WayError."""
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "link", "add", "node0", "type", "veth", "peer", "name", "node1"])
    for end in ("node0", "node1"):
        run(["ip", "link", "set", end, "up"])
    run(["ip", "addr", "add", f"{ADDRESS}/24", "dev", "node0"])
    run(["ip", "route", "add", "default", "via", GATEWAY, "dev", "node0"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n", encoding="ascii")  # of this namespace only
