"""What a -march allows: clang's own answer."""

import re

from leviathan_image.errors import ImageError
from leviathan_image.isa.features import FEATURES
from leviathan_image.isa.tools import call


def argv(clang: str, march: str) -> list[str]:
    """The command that prints every macro that clang predefines for `march`."""
    return [clang, "--target=x86_64-linux-gnu", f"-march={march}", "-dM", "-E", "-x", "c", "/dev/null"]


def features_of(march: str, clang: str) -> frozenset[str]:
    """clang's names of the features of `march` (znver4, x86-64-v3 ...) beyond the x86-64 baseline. Raises ImageError
    on a march that this clang does not know, and on `native`, which means another CPU on every machine.
    """
    if march == "native":
        raise ImageError("the march native depends on the machine", "give a march such as znver4 or x86-64-v3")
    done = call(argv(clang, march))
    if done.returncode:
        known = re.search(r"valid target CPU values are: (.*)", done.stderr)
        why = f"known are {known[1]}" if known else done.stderr
        raise ImageError(f"{clang} does not know the march {march!r}", why)
    macros = set(re.findall(r"^#define (\w+)", done.stdout, re.MULTILINE))
    return frozenset(feature.name for feature in FEATURES if feature.macro in macros)
