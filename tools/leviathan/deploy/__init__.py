"""The whole way from the built image to an endpoint that answers: the phases in a row."""
