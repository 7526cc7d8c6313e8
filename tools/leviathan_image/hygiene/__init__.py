"""The `hygiene` check: what must not be in the image, one module a rule, and the table of exceptions."""
