"""Finds out which of the image's builds a node's CPU can run, by the labels of Node Feature Discovery (NFD).

NFD labels a CPU flag as feature.node.kubernetes.io/cpu-cpuid.NAME=true. By default it omits the older flags (SSE4, BMI,
F16C, POPCNT ...), so their absence means nothing. The decision uses the vector extensions, which imply the older flags,
and SSE4A, which only AMD's CPUs have. The engine itself reads /proc/cpuinfo when it starts; this check only reports it
earlier.
"""

from collections.abc import Mapping, Sequence

PREFIX = "feature.node.kubernetes.io/cpu-cpuid."
V3 = frozenset({"AVX", "AVX2", "FMA3"})
V4 = V3 | {"AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL"}
ICELAKE = V4 | {
    *("AVX512BITALG", "AVX512VBMI", "AVX512VBMI2", "AVX512VNNI", "AVX512VPOPCNTDQ", "AVX512IFMA"),
    *("GFNI", "VAES", "VPCLMULQDQ"),
}
#: Build → the deciding flags, with NFD's names. The complete lists are in nix/ktransformers/march.json.
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
    """The first of `builds` (best first) that the node can run, and why not an earlier one.

    The build is None if this is unknown, and empty if the node can run none; the second value says why.
    """
    have = flags_of(labels)
    if not have:
        return None, "the node has no labels of Node Feature Discovery"
    lacking: list[str] = []
    for build in builds:
        if build not in DECIDING:
            return None, f"the CPU flags that {build} needs are unknown"
        missing = sorted(DECIDING[build] - have)
        if not missing:
            return build, "; ".join(lacking)
        lacking.append(f"{build} needs {', '.join(missing)}")
    return "", "; ".join(lacking)


def better(chosen: str, labels: Mapping[str, str]) -> str:
    """The best build with AVX-512 that the node can run, if `chosen` does not use AVX-512; else empty."""
    have = flags_of(labels)
    fitting = [build for build, flags in DECIDING.items() if V4 <= flags <= have]
    if DECIDING[chosen] >= V4 or not fitting:
        return ""
    return max(fitting, key=lambda build: len(DECIDING[build]))


def flags_of(labels: Mapping[str, str]) -> set[str]:
    """The CPU's flags in a node's labels, with NFD's names."""
    return {key.removeprefix(PREFIX) for key, value in labels.items() if key.startswith(PREFIX) and value == "true"}
