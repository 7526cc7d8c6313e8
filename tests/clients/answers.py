"""What the model of the clients' tests answers."""

PARIS = '{"city": "Paris"}'
ROME = '{"city": "Rome"}'
USER = '{"name": "Ada", "age": 36}'
EDIT = "Done.\n\nhello.py\n```\nprint('hello, world')\n```\n"
