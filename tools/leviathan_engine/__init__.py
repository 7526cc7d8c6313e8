"""What runs in the pod: mounts the model's disk, plans the placement, and serves the model with KTransformers."""
