"""What the user sees: output, progress, and signals."""
