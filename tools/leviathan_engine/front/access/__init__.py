"""Who may ask, from where, and what is written down of it: API keys, CORS, TLS, request ids, the access log."""
