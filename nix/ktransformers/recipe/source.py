"""The source tree: the sdist without its stale byte code, with our patches."""

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from recipe import RecipeError, run, say


def unpack(sdist: Path, out: Path) -> int:
    """Unpack a source distribution without its top folder and without byte code.

    Args:
        sdist: the `.tar.gz`; one top folder, as PEP 625 has it.
        out: the folder to make; it must not exist.

    Returns:
        The number of files written. Modes become 644 or 755 and links are refused, so that the tree depends on
        nothing but the files' bytes.
    """
    written = 0
    out.mkdir(parents=True)
    with tarfile.open(sdist, "r:*") as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts[1:]
            if member.isdir() or not parts or "__pycache__" in parts or parts[-1].endswith(".pyc"):
                continue
            if not member.isfile() or ".." in parts or PurePosixPath(member.name).is_absolute():
                raise RecipeError(f"{sdist}: {member.name} is no plain file in its folder: not KTransformers' sdist")
            target = out.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None
            target.write_bytes(content.read())
            target.chmod(0o755 if member.mode & 0o100 else 0o644)
            written += 1
    return written


def patch(tree: Path, patches: Sequence[Path]) -> None:
    """Apply unified diffs in the order given; a hunk that does not fit exactly is an error."""
    for one in patches:
        argv = ["patch", "-p1", "--batch", "--forward", "--fuzz=0", "--no-backup-if-mismatch", "-i", str(one.resolve())]
        run(argv, cwd=tree, env=os.environ)


def make(sdist: Path, patches: Path, out: Path) -> Path:
    """Unpack `sdist` into `out`, apply every `*.patch` of the folder `patches` by name, and return `out`."""
    if out.exists():
        raise RecipeError(f"{out} exists: remove it, or name another --out")
    files = unpack(sdist, out)
    chosen = sorted(patches.glob("*.patch"))
    if not chosen:
        raise RecipeError(f"{patches} holds no *.patch: name the folder nix/ktransformers/patches with --patches")
    patch(out, chosen)
    say(f"source: {files} files, {len(chosen)} patches")
    return out
