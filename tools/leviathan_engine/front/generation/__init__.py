"""One answer, independent of any API's format: the request, the events of the answer, the turn, the text."""
