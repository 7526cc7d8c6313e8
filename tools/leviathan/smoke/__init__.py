"""The smoke test: asks the endpoint what a client would ask, and compares the answers with what they should be."""
