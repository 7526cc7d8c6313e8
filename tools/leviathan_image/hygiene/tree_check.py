"""The hygiene check as a whole: every rule over every entry of every tree, then the exceptions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from leviathan_image.findings import Finding
from leviathan_image.hygiene import duplicates, filenames, pyc
from leviathan_image.hygiene import forbidden_strings as words
from leviathan_image.hygiene.bytesearch import Needle
from leviathan_image.hygiene.exceptions import Exceptions, apply
from leviathan_image.layer import read_layer
from leviathan_image.tarcheck import check_tar
from leviathan_image.tree import Entry, scan
from leviathan_image.zstdpipe import decompressed


def check_trees(
    trees: Sequence[Path], build_paths: Sequence[str], exceptions: Exceptions, table: str
) -> tuple[list[Finding], list[str]]:
    """Findings about `trees` (together the image's root) and the facts.

    Arguments: `build_paths`, patterns of paths that no file may name; `exceptions` and the `table` they came from.
    """
    entries = [entry for tree in trees for entry in scan(tree)]
    files = {entry.path: entry.source for entry in entries if entry.source is not None}
    needles = words.needles(build_paths)
    findings = [finding for entry in entries for finding in _entry(entry, files, needles)]
    shared = duplicates.libraries(entries)
    findings += duplicates.check(shared)
    size = sum(entry.size for entry in entries)
    facts = [f"{len(entries)} entries, {size:,} bytes, {len(shared)} shared libraries in {len(trees)} trees"]
    allowed = sum(len(reasons) for reasons in exceptions.values())
    facts.append(f"searched for {', '.join(build_paths)} and DeepGEMM; {allowed} exceptions in {table}")
    return apply(findings, exceptions, table), facts


def check_layers(folders: Iterable[Path]) -> tuple[list[Finding], list[str]]:
    """Findings about the tar streams of finished layers: times, owners, order, member types, the digest."""
    findings: list[Finding] = []
    facts: list[str] = []
    for folder in folders:
        layer = read_layer(folder)
        with decompressed(layer.blob) as stream:
            tar = check_tar(stream, layer.name)
        findings += tar.findings
        if tar.digest != layer.diff_id:
            what = f"its tar is {tar.digest}, layer.json says {layer.diff_id}"
            findings.append(Finding("diff-id", layer.name, what, "make the layer again"))
        facts.append(f"layer {layer.name}: {tar.members:,} members, {tar.size:,} bytes of tar")
    return findings, facts


def _entry(entry: Entry, files: Mapping[str, Path], needles: Sequence[Needle]) -> Iterable[Finding]:
    yield from words.check(entry, needles)
    yield from filenames.check(entry)
    if entry.path in files and entry.path.endswith(".pyc"):
        yield from pyc.check(entry.path, files)
