"""The lock files: reading, checking, refreshing."""
