"""Uploads the image to the registry, in a child process that a kill does not interrupt."""
