"""The device-code check: what a file carries, and that each way to be wrong fails."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.devicecode import Exempt, check, judge, read_exceptions
from leviathan_image.devicefile import DeviceCode, read_device_code
from leviathan_image.errors import ImageError

MakeTree = Callable[..., Path]
MakeElf = Callable[..., bytes]

_WANTED = frozenset({"sm_90a", "sm_100", "sm_120"})


@pytest.fixture
def wanted(data: Path) -> bytes:
    """A real fat binary with exactly the wanted architectures."""
    return (data / "wanted-12.8.fatbin").read_bytes()


def _read(tmp_path: Path, content: bytes, name: str = "f") -> DeviceCode:
    path = tmp_path / name
    path.write_bytes(content)
    return read_device_code(path)


def test_every_place_in_a_file_counts(tmp_path: Path, make_elf: MakeElf, wanted: bytes, data: Path) -> None:
    for section in (".nv_fatbin", "__nv_relfatbin", ".rodata", ".cask_resource"):
        assert _read(tmp_path, make_elf({section: wanted})) == DeviceCode(_WANTED)
    cubin = (data / "sm_90a.cubin").read_bytes()
    assert _read(tmp_path, make_elf({".data": cubin})).archs == {"sm_90a"}
    assert _read(tmp_path, cubin, "k.cubin").archs == {"sm_90a"}
    assert _read(tmp_path, wanted, "k.fatbin").archs == _WANTED
    assert _read(tmp_path, b"!<arch>\n" + bytes(100) + make_elf({".nv_fatbin": wanted}), "k.a").archs == _WANTED


def test_several_containers_and_cubins_in_one_file(
    tmp_path: Path, make_elf: MakeElf, wanted: bytes, data: Path
) -> None:
    first, last = (data / "sm_90a.cubin").read_bytes(), (data / "sm_120.cubin").read_bytes()
    family = (data / "family-12.9.fatbin").read_bytes()
    found = _read(tmp_path, make_elf({".a": first, ".nv_fatbin": wanted + bytes(16) + family, ".z": last}))
    assert found == DeviceCode(_WANTED | {"sm_100f", "sm_120f", "sm_103a", "compute_90a"})


def test_ptx_text_counts_by_its_name(tmp_path: Path) -> None:
    text = b".version 8.0\n.target sm_90a\n.address_size 64\n" + b"// x\n" * 10
    assert _read(tmp_path, text, "k.ptx").archs == {"compute_90a"}
    assert _read(tmp_path, text, "k.txt").archs == frozenset()


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"text " * 1000])
def test_files_without_device_code(tmp_path: Path, content: bytes) -> None:
    assert _read(tmp_path, content) == DeviceCode(frozenset())


def test_an_ordinary_library_has_none(tmp_path: Path, make_elf: MakeElf) -> None:
    assert _read(tmp_path, make_elf({".text": b"\x90" * 99})) == DeviceCode(frozenset())


def test_a_section_that_cannot_be_read_is_a_problem(tmp_path: Path, make_elf: MakeElf, wanted: bytes) -> None:
    found = _read(tmp_path, make_elf({".nv_fatbin": b"new format" * 10}))
    assert found.problems == ("100 bytes of its section .nv_fatbin are in no container that can be read",)
    padded = _read(tmp_path, make_elf({".nv_fatbin": bytes(8) + wanted + bytes(24)}))
    assert padded == DeviceCode(_WANTED)
    partly = _read(tmp_path, make_elf({".nv_fatbin": wanted + b"trailing"}))
    assert "8 bytes" in partly.problems[0]


def test_an_unknown_entry_is_a_problem(tmp_path: Path, make_elf: MakeElf, make_fatbin: Callable[..., bytes]) -> None:
    found = _read(tmp_path, make_elf({".rodata": make_fatbin([(5, 90, 0x2011, b"")])}))
    assert "kind 5" in found.problems[0]


def test_a_damaged_elf_file_is_a_problem(tmp_path: Path, make_elf: MakeElf) -> None:
    content = bytearray(make_elf({".text": b"\x90"}))
    content[58] = 1
    assert _read(tmp_path, bytes(content)).problems == ("its section table is damaged",)


def _judge(archs: set[str], *exceptions: Exempt, path: str = "/lib/x.so") -> list[str]:
    findings = judge({path: DeviceCode(frozenset(archs))}, _WANTED, exceptions, "table.json")
    return [finding.line() for finding in findings]


def _exempt(*carries: str, glob: str = "*/x.so", spread: bool = False) -> Exempt:
    return Exempt(glob, frozenset(carries), "torch's own", spread)


def test_exactly_the_wanted_architectures_pass() -> None:
    assert _judge(set(_WANTED)) == []


@pytest.mark.parametrize(
    ("archs", "named"),
    [
        (_WANTED | {"sm_80"}, "not wanted: sm_80"),
        (_WANTED | {"compute_90"}, "not wanted: compute_90"),
        (_WANTED - {"sm_120"}, "missing: sm_120"),
        ((_WANTED - {"sm_90a"}) | {"sm_90"}, "not wanted: sm_90; missing: sm_90a"),
        ((_WANTED - {"sm_120"}) | {"sm_120a"}, "not wanted: sm_120a; missing: sm_120"),
    ],
)
def test_anything_else_fails(archs: set[str], named: str) -> None:
    (line,) = _judge(archs)
    assert named in line
    assert "table.json" in line


def test_an_exception_covers_exactly_what_it_says() -> None:
    assert _judge({"sm_70", "sm_80"}, _exempt("sm_70", "sm_80")) == []
    (line,) = _judge({"sm_70", "sm_80", "sm_90"}, _exempt("sm_70", "sm_80"))
    assert "listed as */x.so, but carries sm_70 sm_80 sm_90; not wanted: sm_90" in line
    (line,) = _judge({"sm_70"}, _exempt("sm_70", "sm_80"))
    assert "missing: sm_80" in line


def test_an_exception_is_not_passed_over_for_the_wanted_set() -> None:
    (line,) = _judge(set(_WANTED), _exempt("sm_70"))
    assert "listed as" in line


def test_a_stale_exception_fails() -> None:
    (line,) = _judge(set(_WANTED), _exempt("sm_70", glob="*/gone.so"))
    assert "*/gone.so: a stale exception" in line


def test_a_spread_exception_wants_the_whole_among_its_files() -> None:
    def run(*files: set[str]) -> list[str]:
        cache = {f"/cache/{number}.cubin": DeviceCode(frozenset(archs)) for number, archs in enumerate(files)}
        exempt = _exempt("sm_90a", "sm_120", glob="/cache/*", spread=True)
        return [finding.line() for finding in judge(cache, _WANTED, [exempt], "t")]

    assert run({"sm_90a"}, {"sm_120"}, {"sm_120"}) == []
    (line,) = run({"sm_90a"}, {"sm_90a"})
    assert "together its files miss sm_120" in line
    assert any("not wanted: sm_80" in line for line in run({"sm_90a"}, {"sm_120"}, {"sm_80"}))


def test_all_findings_come_at_once(make_tree: MakeTree, make_elf: MakeElf, wanted: bytes, data: Path) -> None:
    plain = (data / "plain-12.8.fatbin").read_bytes()
    tree = make_tree(
        "t",
        {
            "lib/good.so": make_elf({".nv_fatbin": wanted}),
            "lib/bad.so": make_elf({".nv_fatbin": plain}),
            "lib/worse.so": make_elf({".nv_fatbin": b"??" * 50}),
            "lib/plain.so": make_elf({".text": b"\x90"}),
            "lib/link.so": "bad.so",
        },
    )
    findings, facts = check([tree], _WANTED, [], "t")
    assert [finding.where for finding in findings] == ["/lib/bad.so", "/lib/worse.so"]
    assert facts[-1] == "4 files read, 3 with device code; wanted sm_90a sm_100 sm_120"
    assert "/lib/good.so: sm_90a sm_100 sm_120" in facts


def test_reads_exceptions(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"*/x.so": {"carries": ["sm_70"], "why": "torch's own", "spread": True}}))
    assert read_exceptions(path) == [_exempt("sm_70", spread=True)]
    assert read_exceptions(None) == []


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"carries": [], "why": "x"}, "empty carries"),
        ({"carries": ["sm_70"]}, "why is None"),
        ({"carries": ["sm_70"], "why": " "}, "why is ' '"),
        ({"carries": "sm_70", "why": "x"}, "carries is 'sm_70'"),
        ({"carries": ["sm_70"], "why": "x", "spread": "yes"}, "spread"),
        ({"carries": ["sm_70"], "why": "x", "note": 1}, "unknown key note"),
        (["sm_70"], "expected an object"),
    ],
)
def test_a_malformed_exception_is_named(tmp_path: Path, value: object, named: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"*/x.so": value}))
    with pytest.raises(ImageError) as caught:
        read_exceptions(path)
    assert named in caught.value.line()
    assert "*/x.so" in caught.value.line()
