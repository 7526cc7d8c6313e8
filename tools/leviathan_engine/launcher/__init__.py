"""The pod's first process: flags, disk, plan, then the front and the worker."""
