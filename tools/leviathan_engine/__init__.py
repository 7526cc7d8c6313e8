"""What runs in the pod: from the runbook's disk, flags and GGUF files to a KTransformers server that answers."""
