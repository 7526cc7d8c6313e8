"""A private Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager and kube-scheduler."""
