"""The whole way on real parts: a control plane, a node, a disk, the image, and faults."""
