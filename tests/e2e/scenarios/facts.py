"""What a report says of the run as a whole: when, of which commit, on which machine, and what was left out."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from .stage import ROOT


def of_this_run(only: str, root: Path = ROOT) -> dict[str, object]:
    """The facts. Arguments: `only`, the word of --only, "" for none; `root`, the repository's folder."""
    return {
        "begun": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(root),
        "tree": tree(root),
        "only": only or "everything",
        "kernel": platform.release(),
        "CPUs": os.cpu_count(),
    }


def commit(root: Path) -> str:
    """The commit that is checked out, or why it is not known."""
    return git(root, "rev-parse", "HEAD")


def tree(root: Path) -> str:
    """`clean`, or how many files differ from the commit, those that are new to git included."""
    said = git(root, "status", "--porcelain")
    if said.startswith("unknown: "):
        return said
    return f"dirty: {len(said.splitlines())} files differ from the commit" if said else "clean"


def git(root: Path, *words: str) -> str:
    """What git answers in `root`, or `unknown: ` and why."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}"
    if done.returncode:
        return f"unknown: {(done.stderr.strip().splitlines() or ['git says nothing'])[-1]}"
    return done.stdout.strip()
