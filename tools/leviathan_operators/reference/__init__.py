"""Plain torch implementations that run on the CPU: what every operator and kernel is held against."""
