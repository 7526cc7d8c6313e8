"""Finds out why a rollout does not become ready: one module per kind of cause."""
