"""The HTTP front: a process of its own before the engine, so that health, queue and limits never wait for a token."""
