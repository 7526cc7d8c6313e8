"""Compares the model's files with the manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leviathan.model.downloaded import ModelError
from leviathan.model.local_files import SUFFIX
from leviathan.model.manifest import Manifest
from leviathan.terminal.progress import size_text


@dataclass(frozen=True)
class Verified:
    """Files that match the manifest: their number and bytes, how many were compared by SHA-256, `where` they are."""

    where: str
    manifest: str
    files: int
    size: int
    hashed: int

    def text(self) -> str:
        """The result in one line."""
        hashed = f", {self.hashed} of them by SHA-256" if self.hashed else ", by name and size"
        return f"{self.files} files, {size_text(self.size)}, match {self.manifest}{hashed} ({self.where})"

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "where": self.where,
            "manifest": self.manifest,
            "files": self.files,
            "bytes": self.size,
            "hashed": self.hashed,
        }


def differences(manifest: Manifest, sizes: Mapping[str, int], hashes: Mapping[str, str]) -> list[str]:
    """The differences from the manifest: missing files, other sizes, other hashes, and extra .gguf files.

    `sizes`: name → bytes; `hashes`: name → SHA-256, only for the files to compare by hash.
    """
    found = []
    for each in manifest.files:
        if each.name not in sizes:
            found.append(f"{each.name} is missing")
        elif sizes[each.name] != each.size:
            short = each.size - sizes[each.name]
            much = f"{size_text(abs(short))} too {'short' if short > 0 else 'long'}"
            found.append(f"{each.name}: expected {each.size} bytes, got {sizes[each.name]} ({much})")
        elif each.sha256 and hashes.get(each.name, each.sha256) != each.sha256:
            found.append(f"{each.name}: expected SHA-256 {each.sha256[:12]}…, got {hashes[each.name][:12]}…")
    names = {each.name for each in manifest.files}
    strange = sorted(name for name in sizes if name.endswith(SUFFIX) and name not in names)
    # The engine loads the only model below its folder, and fails if there are two.
    return found + [f"{name} is not in the manifest" for name in strange]


def verify(manifest: Manifest, name: str, sizes: Mapping[str, int], hashes: Mapping[str, str], where: str) -> Verified:
    """Compare the files with the manifest. Errors: ModelError, which lists the differences."""
    found = differences(manifest, sizes, hashes)
    if found:
        shown = found[:8] + ([f"and {len(found) - 8} more"] if len(found) > 8 else [])
        raise ModelError(
            f"the model differs from the manifest in {len(found)} file{'' if len(found) == 1 else 's'}",
            where=where,
            why=" | ".join(shown),
            remedy="download the wrong or missing files again, remove the extra ones, and run leviathan model again",
        )
    hashed = sum(1 for each in manifest.files if each.sha256 and each.name in hashes)
    return Verified(where, name, len(manifest.files), manifest.size, hashed)
