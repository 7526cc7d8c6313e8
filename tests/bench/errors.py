"""What ends a measurement, or all of them."""


class BenchError(Exception):
    """A user's error or a child's: one line for the user, without a traceback."""


class Missing(BenchError):
    """A part that this machine lacks; the other parts still run. The text says what is missing, and how to get it."""
