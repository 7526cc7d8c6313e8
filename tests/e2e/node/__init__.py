"""A node agent for tests: does what a kubelet does for the pods bound to its node.

Real: pulls from the registry, unpacked layers, overlay mounts, namespaces, control groups, probes, signals, logs, and
all that a kubelet writes into the API. Not there: seccomp filters, exec, attach, port-forward, eviction, device
plugins, pod-level pid and ipc namespaces (each container has its own), Services other than NodePort.
"""

#: The name and version that this agent reports as the node's container runtime, and the scheme of container IDs.
RUNTIME = "leviathan-node"
VERSION = "0.1.0"
