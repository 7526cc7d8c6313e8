"""Why a rollout does not get ready: one module per kind of cause."""
