"""`python3 -m leviathan_fetch`."""

import sys

from leviathan_fetch.cli import main

sys.exit(main())
