"""The deploy tool: takes the built image to a healthy endpoint on the cluster, and says why when it cannot."""

__version__ = "0.1.0"
