"""The Kubernetes API: reads and writes, and what `leviathan` applied there."""
