"""Ollama's API: /api/version, /api/tags, /api/show, /api/ps, /api/chat and /api/generate."""
