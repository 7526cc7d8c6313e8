"""Holds the files that there are to the manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leviathan.model.downloaded import ModelError
from leviathan.model.local_files import SUFFIX
from leviathan.model.manifest import Manifest
from leviathan.terminal.progress import size_text


@dataclass(frozen=True)
class Verified:
    """Files that are as the manifest has them: how many, their bytes, how many by SHA-256; `where` they are."""

    where: str
    manifest: str
    files: int
    size: int
    hashed: int

    def text(self) -> str:
        """The result in one line."""
        hashed = f", {self.hashed} of them by SHA-256" if self.hashed else ", by name and size"
        return f"{self.files} files, {size_text(self.size)}, as in {self.manifest}{hashed} ({self.where})"

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
    """What is not as in the manifest: missing files, other sizes, other hashes, and strange .gguf files.

    `sizes` in bytes by name; `hashes` may lack files, which are then not compared.
    """
    found = []
    for each in manifest.files:
        if each.name not in sizes:
            found.append(f"{each.name} is missing")
        elif sizes[each.name] != each.size:
            short = each.size - sizes[each.name]
            much = f"{size_text(abs(short))} too {'short' if short > 0 else 'long'}"
            found.append(f"{each.name} has {sizes[each.name]} bytes instead of {each.size} ({much})")
        elif each.sha256 and hashes.get(each.name, each.sha256) != each.sha256:
            found.append(f"{each.name} hashes to {hashes[each.name][:12]}… instead of {each.sha256[:12]}…")
    names = {each.name for each in manifest.files}
    strange = sorted(name for name in sizes if name.endswith(SUFFIX) and name not in names)
    # The engine loads the one model below its folder, and stops when there are two.
    return found + [f"{name} is not in the manifest" for name in strange]


def verify(manifest: Manifest, name: str, sizes: Mapping[str, int], hashes: Mapping[str, str], where: str) -> Verified:
    """Compare, and fail with every difference. Errors: ModelError."""
    found = differences(manifest, sizes, hashes)
    if found:
        shown = found[:8] + ([f"and {len(found) - 8} more"] if len(found) > 8 else [])
        raise ModelError(
            "the model is not that of the manifest"
            if len(found) == 1
            else f"the model differs from the manifest in {len(found)} files",
            where=where,
            why=" | ".join(shown),
            remedy="download the named files again, remove the strange ones, and run leviathan model again",
        )
    hashed = sum(1 for each in manifest.files if each.sha256 and each.name in hashes)
    return Verified(where, name, len(manifest.files), manifest.size, hashed)
