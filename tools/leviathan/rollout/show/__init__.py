"""How a rollout is shown: a live table on a terminal, plain lines elsewhere."""
