"""What happens after apply: watches the rollout, explains a stall, and reads the engine's status and log."""
