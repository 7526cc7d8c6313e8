"""What the cluster says during a rollout: watch streams, snapshots, /health."""
