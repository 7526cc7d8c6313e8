"""The engine's process: KTransformers, one session of answers at a time."""
