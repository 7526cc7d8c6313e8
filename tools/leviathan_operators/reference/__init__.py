"""Plain torch implementations that run on the CPU; the tests compare every operator and kernel with them."""
