"""A node with a real kubelet, containerd, runc and kube-proxy, in namespaces of its own, that leaves nothing behind."""
