"""What holds for every test."""

import signal

# A shell that starts the suite in the background ignores Ctrl-C for it, and the programs that tests start and interrupt
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
