"""Access control and logging: API keys, CORS, TLS, request ids, the access log, traces."""
