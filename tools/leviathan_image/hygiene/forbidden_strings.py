"""Rules about strings: no path of the build machine, no DeepGEMM, in contents, names and link targets."""

from collections.abc import Iterator, Sequence

from leviathan_image.findings import Finding
from leviathan_image.hygiene.bytesearch import Hit, Needle, path_needle, search, search_text
from leviathan_image.hygiene.rules import Rule
from leviathan_image.tree import Entry

#: Where builds run and keep their results: the Nix store, the sandbox's build folder, its folder outside.
BUILD_PATHS = ("/nix/store/", "^/build/", "/tmp/nix-build")

#: The package's spellings, whatever their case.
DEEPGEMM = (Needle(b"deep_gemm", fold=True), Needle(b"deepgemm", fold=True), Needle(b"deep-gemm", fold=True))


def needles(build_paths: Sequence[str]) -> list[Needle]:
    """All needles: the patterns `build_paths` (a leading `^`: only where a path begins) and DeepGEMM's names."""
    return [*(path_needle(pattern) for pattern in build_paths), *DEEPGEMM]


def check(entry: Entry, wanted: Sequence[Needle]) -> Iterator[Finding]:
    """Findings about one entry: its path, its link target, its bytes."""
    where = f"/{entry.path}"
    for hit in search_text(where, [needle for needle in wanted if needle in DEEPGEMM]):
        yield _finding(where, hit, "its name")
    if entry.target:
        for hit in search_text(entry.target, wanted):
            yield _finding(where, hit, "its link target")
    if entry.source is not None:
        for hit in search(entry.source, wanted):
            yield _finding(where, hit, f"byte {hit.offset}" + (f" and {hit.count - 1} more" if hit.count > 1 else ""))


def _finding(where: str, hit: Hit, place: str) -> Finding:
    if hit.needle in DEEPGEMM:
        return Finding(Rule.DEEPGEMM, where, f"{place}: {hit.around}", "leave DeepGEMM out")
    return Finding(Rule.BUILD_PATH, where, f"{place}: {hit.around}", "map the path away where it is compiled")
