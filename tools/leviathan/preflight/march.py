"""Which of the image's builds a CPU can run, by the labels that Node Feature Discovery puts on its node.

NFD labels a flag as feature.node.kubernetes.io/cpu-cpuid.NAME=true, and by default leaves out the older ones (SSE4,
BMI, F16C, POPCNT ...): their absence means nothing. So the vector extensions decide, which every such CPU has together
with the rest, and SSE4A, which AMD's CPUs alone have. The engine itself looks at /proc/cpuinfo when it starts; this
only says it earlier.
"""

from collections.abc import Mapping, Sequence

PREFIX = "feature.node.kubernetes.io/cpu-cpuid."
V3 = frozenset({"AVX", "AVX2", "FMA3"})
V4 = V3 | {"AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL"}
ICELAKE = V4 | {
    *("AVX512BITALG", "AVX512VBMI", "AVX512VBMI2", "AVX512VNNI", "AVX512VPOPCNTDQ", "AVX512IFMA"),
    *("GFNI", "VAES", "VPCLMULQDQ"),
}
#: A build → the flags that decide, by NFD's names. The whole list of each is in nix/ktransformers/march.json.
DECIDING: dict[str, frozenset[str]] = {
    "x86-64-v2": frozenset(),
    "x86-64-v3": V3,
    "x86-64-v4": V4,
    "znver3": V3 | {"SSE4A", "VAES", "VPCLMULQDQ"},
    "znver4": ICELAKE | {"AVX512BF16", "SSE4A"},
    "znver5": ICELAKE | {"AVX512BF16", "AVX512VP2INTERSECT", "AVXVNNI", "SSE4A"},
    "icelake-server": ICELAKE,
    "sapphirerapids": ICELAKE | {"AVX512BF16", "AVX512FP16", "AVXVNNI"},
}


def choose(builds: Sequence[str], labels: Mapping[str, str]) -> tuple[str | None, str]:
    """The first of `builds` (best first) that fits the node's labels, and why not one before it.

    The build is None when that cannot be known, and empty when none fits; the second value says why.
    """
    have = flags_of(labels)
    if not have:
        return None, "the node has no labels of Node Feature Discovery"
    lacking: list[str] = []
    for build in builds:
        if build not in DECIDING:
            return None, f"what {build} needs is not known here"
        missing = sorted(DECIDING[build] - have)
        if not missing:
            return build, "; ".join(lacking)
        lacking.append(f"{build} needs {', '.join(missing)}")
    return "", "; ".join(lacking)


def better(chosen: str, labels: Mapping[str, str]) -> str:
    """The build with AVX-512 that fits the node's labels best, where `chosen` is one without; empty otherwise."""
    have = flags_of(labels)
    fitting = [build for build, flags in DECIDING.items() if V4 <= flags <= have]
    if DECIDING[chosen] >= V4 or not fitting:
        return ""
    return max(fitting, key=lambda build: len(DECIDING[build]))


def flags_of(labels: Mapping[str, str]) -> set[str]:
    """The CPU's flags among a node's labels, by NFD's names."""
    return {key.removeprefix(PREFIX) for key, value in labels.items() if key.startswith(PREFIX) and value == "true"}
