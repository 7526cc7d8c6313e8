"""What holds for every test."""

import contextlib
import os
import signal

# A shell that starts the suite in the background ignores Ctrl-C for it, and the programs that tests start and interrupt
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

with contextlib.suppress(ImportError):  # the image's own root has no hypothesis
    from hypothesis import HealthCheck, settings

    # How long an example takes says more about what else the machine does than about the test. In a build of Nix the
    # examples are the same each time, so its result does not depend on the day; elsewhere every run tries new ones.
    settings.register_profile(
        "leviathan",
        deadline=None,
        derandomize="NIX_BUILD_TOP" in os.environ,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("leviathan")
