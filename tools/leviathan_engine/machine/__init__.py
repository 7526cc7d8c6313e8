"""What this machine is: CPUs, control groups, GPUs, block devices, mounts."""
