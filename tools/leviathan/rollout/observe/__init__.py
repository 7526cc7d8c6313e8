"""Observes a rollout: watch streams, snapshots, /health."""
