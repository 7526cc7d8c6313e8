"""The site file: keys, types, defaults, where each value came from."""
