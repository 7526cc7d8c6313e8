"""Looks at everything that a deployment needs before anything is changed, and says all that it finds at once."""
