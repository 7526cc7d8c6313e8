"""Measures an OpenAI endpoint: prompt lengths, answer lengths and numbers of clients, as a table, JSON and SVG."""
