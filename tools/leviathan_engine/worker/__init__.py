"""The worker: runs KTransformers, and answers the front's jobs one at a time."""
