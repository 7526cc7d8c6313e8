"""The HTTP server: a process of its own, so that /health, the queue and the limits never wait for the model."""
