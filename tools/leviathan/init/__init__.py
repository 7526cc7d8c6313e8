"""Writes a first site file from what the cluster and the registry login show, and asks for the rest."""
