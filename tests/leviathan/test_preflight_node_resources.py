"""What is free on a node, which taints are tolerated, and which build a CPU can run, by small examples."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leviathan.preflight.march import DECIDING, PREFIX, better, choose
from leviathan.preflight.namespace import node_ports
from leviathan.preflight.node_checks import tolerates
from leviathan.preflight.node_resources import allocatable, amount, requested

ROOT = Path(__file__).parents[2]
TABLE = json.loads((ROOT / "nix/ktransformers/march.json").read_text())
GIB = 1 << 30


# --- amounts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("500m", Fraction(1, 2)),
        ("384Gi", 384 * GIB),
        ("395137Mi", 395137 << 20),
        ("128974848000m", 128974848),
        ("100n", Fraction(1, 10**7)),
        ("5u", Fraction(1, 200000)),
        ("1E", 10**18),
        ("2Ei", 2**61),
        ("1e3", 1000),
        ("12E2", 1200),
        ("1.5e-1", Fraction(3, 20)),
        ("-1", -1),
        ("+.5", Fraction(1, 2)),
        (3, 3),
    ],
)
def test_amounts_as_the_api_writes_them(text: str | int, value: Fraction | int) -> None:
    assert amount(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1KB", "1 Gi", "1ee3", "x"])
def test_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="expected a Kubernetes quantity"):
        amount(text)


@settings(deadline=None)
@given(st.fractions(min_value=0, max_value=10**6, max_denominator=1000))
def test_millis_read_back(value: Fraction) -> None:
    whole = round(value * 1000)
    assert amount(f"{whole}m") == Fraction(whole, 1000)


def pod(*containers: str, first: tuple[tuple[str, str], ...] = (), **spec: Any) -> dict[str, Any]:
    """A pod whose containers ask for this much CPU; `first` are init containers: (CPU, restartPolicy)."""
    started = [{"resources": {"requests": {"cpu": cpu}}, "restartPolicy": policy} for cpu, policy in first]
    running: list[dict[str, Any]] = [{"resources": {"requests": {"cpu": cpu}}} if cpu else {} for cpu in containers]
    return {"spec": {"containers": running, "initContainers": started, **spec}}


@pytest.mark.parametrize(
    ("given", "cpu"),
    [
        (pod("1", "500m"), "1500m"),
        (pod("1", ""), "1"),
        (pod("1", "1", first=(("3", ""),)), "3"),
        (pod("1", first=(("3", ""), ("2", ""))), "3"),
        # A sidecar runs together with everything that comes after it.
        (pod("1", first=(("2", "Always"),)), "3"),
        (pod("1", first=(("2", "Always"), ("5", ""))), "7"),
        (pod("1", first=(("5", ""), ("2", "Always"))), "5"),
        (pod("1", overhead={"cpu": "250m"}), "1250m"),
        (pod("1", "1", resources={"requests": {"cpu": "5"}}), "5"),
        (pod(""), "0"),
    ],
)
def test_what_a_pod_asks_for(given: dict[str, Any], cpu: str) -> None:
    assert requested(given, "cpu") == amount(cpu)
    assert requested(given, "nvidia.com/gpu") == 0


def test_what_a_node_does_not_offer_is_told_from_none() -> None:
    node = {"status": {"allocatable": {"nvidia.com/gpu": "0"}}}
    assert allocatable(node, "nvidia.com/gpu") == 0
    assert allocatable(node, "amd.com/gpu") is None


# --- node


TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "j", "operator": "Exists"}, False),
        ({"operator": "Exists"}, True),
        ({}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], covers: bool) -> None:
    assert tolerates(toleration, TAINT) is covers


def test_all_ports_of_a_service_count() -> None:
    spec = {"ports": [{"port": 1, "nodePort": 30001}, {"port": 2}], "healthCheckNodePort": 30002}
    assert node_ports({"spec": spec}) == [30001, 30002]
    assert node_ports({"spec": {"ports": None}}) == []


# --- march

#: Flags of /proc/cpuinfo → names of NFD (github.com/klauspost/cpuid), those that decide.
NFD = {
    **{flag: flag.upper() for flag in ("avx", "avx2", "gfni", "vaes", "vpclmulqdq")},
    **{f"avx512{part}": f"AVX512{part.upper()}" for part in ("f", "bw", "cd", "dq", "vl", "ifma", "vbmi")},
    **{
        f"avx512_{part}": f"AVX512{part.upper()}"
        for part in ("bf16", "bitalg", "vbmi2", "vnni", "vpopcntdq", "vp2intersect", "fp16")
    },
    "avx_vnni": "AVXVNNI",
    "fma": "FMA3",
    "sse4a": "SSE4A",
}


def flags(build: str) -> set[str]:
    entry = TABLE[build]
    return set(entry["adds"]) | (flags(entry["from"]) if "from" in entry else set())


def test_the_deciding_flags_are_those_of_the_build() -> None:
    """The tool's short table follows the build's own: each entry, and each flag that decides."""
    assert set(DECIDING) == set(TABLE)
    for build, deciding in DECIDING.items():
        assert deciding == {NFD[flag] for flag in flags(build) if flag in NFD}


def labels(*names: str) -> dict[str, str]:
    return {f"{PREFIX}{name}": "true" for name in names}


BUILDS = ("znver5", "znver4", "sapphirerapids", "icelake-server", "x86-64-v4", "x86-64-v3")


@pytest.mark.parametrize(
    ("given", "chosen", "words"),
    [
        (labels(*DECIDING["znver5"]), "znver5", ""),
        (labels(*DECIDING["znver4"]), "znver4", "znver5 needs AVX512VP2INTERSECT, AVXVNNI"),
        (labels("AVX", "AVX2", "FMA3"), "x86-64-v3", "znver4 needs"),
        (labels(*DECIDING["sapphirerapids"]), "sapphirerapids", "znver4 needs SSE4A"),  # AVX-512, by Intel
        (labels(*DECIDING["icelake-server"]), "icelake-server", "sapphirerapids needs AVX512BF16, AVX512FP16, AVXVNNI"),
        (labels(*DECIDING["x86-64-v4"]), "x86-64-v4", "icelake-server needs AVX512BITALG"),
        (labels("AVX"), "", "x86-64-v3 needs AVX2, FMA3"),
        ({f"{PREFIX}AVX2": "false"}, None, "no labels"),
        ({"kubernetes.io/arch": "amd64"}, None, "no labels"),
    ],
)
def test_the_best_build_that_fits(given: dict[str, str], chosen: str | None, words: str) -> None:
    found, why = choose(BUILDS, given)
    assert found == chosen
    assert words in why


@pytest.mark.parametrize(
    ("chosen", "cpu", "found"),
    [
        ("x86-64-v3", "sapphirerapids", "sapphirerapids"),
        ("x86-64-v3", "icelake-server", "icelake-server"),
        ("x86-64-v3", "znver4", "znver4"),
        ("x86-64-v3", "x86-64-v4", "x86-64-v4"),
        ("x86-64-v3", "znver3", ""),
        ("x86-64-v3", "x86-64-v3", ""),
        ("znver4", "znver5", ""),
    ],
)
def test_a_build_with_avx_512_where_the_chosen_has_none(chosen: str, cpu: str, found: str) -> None:
    assert better(chosen, labels(*DECIDING[cpu])) == found


def test_a_build_that_is_not_in_the_table_is_not_guessed() -> None:
    assert choose(("znver9",), labels("AVX2")) == (None, "the CPU flags that znver9 needs are unknown")
