"""The sources of Kubernetes for the end-to-end test, through Go's module client."""
