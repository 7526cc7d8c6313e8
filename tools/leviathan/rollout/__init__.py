"""What happens after apply: watches the rollout, says why it does not go on, and reads status and log of the engine."""
