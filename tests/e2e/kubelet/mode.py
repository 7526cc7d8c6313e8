"""The kubelet as a mode of the whole way."""

from e2e.scenarios.mode import ENGINE, Mode

from .node import join

FACTS = {
    "node": "kubelet, kube-proxy and a device plugin of the Kubernetes programs, containerd, runc and CNI plugins of "
    "the machine, in mount, network and process namespaces of their own",
    "what is not real": f"no GPU: the device plugin announces 2 nvidia.com/gpu without cards, {ENGINE}; the pod's "
    "requests are smaller than the runbook's, since a kubelet announces what the machine has",
}
KUBELET = Mode(
    join=join,
    facts=FACTS,
    devices=True,
    site={
        "resources": {
            "cpu_limit": "2",
            "cpu_request": "1",
            "memory_limit": "12Gi",
            "memory_request": "6Gi",
            "shm": "1Gi",
        }
    },
)
