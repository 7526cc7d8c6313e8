"""Looks at a node as a person would who helps: findings with a fix (doctor), and one archive for others (support)."""
