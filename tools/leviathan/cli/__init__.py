"""The command line: entry point, options, commands by name."""
