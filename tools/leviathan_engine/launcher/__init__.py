"""The pod's first process: reads the flags, mounts the disk, makes the plan, then starts the front and the worker."""
