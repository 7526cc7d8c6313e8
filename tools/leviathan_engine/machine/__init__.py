"""Inspects this machine: CPUs, control groups, GPUs, block devices, mounts."""
