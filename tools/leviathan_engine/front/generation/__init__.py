"""Generates an answer, independent of any API's format: the request, the turn in the queue, the events, the text."""
