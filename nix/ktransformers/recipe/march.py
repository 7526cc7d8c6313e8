"""The -march entries that this recipe knows, and the CPU flags that each needs (march.json)."""

import json
from pathlib import Path

from recipe import RecipeError

TABLE = Path(__file__).resolve().parent.parent / "march.json"


def flags(name: str, table: Path = TABLE) -> list[str]:
    """The flags of /proc/cpuinfo without which code for `name` may die with SIGILL, sorted.

    Left out are instruction sets that no compiler emits unasked and that virtual machines like to hide (pku, wbnoinvd,
    mwaitx, movdiri ...): demanding them would only turn good CPUs away.

    Args:
        name: a -march value; "native" is refused on purpose, since it would bind the result to the build machine.
        table: march.json; each entry adds flags to the one it is made `from`.
    """
    entries: dict[str, dict[str, object]] = json.loads(table.read_text(encoding="utf-8"))
    found: set[str] = set()
    step: object = name
    while step is not None:
        entry = entries.get(str(step))
        if entry is None:
            known = ", ".join(entries)
            raise RecipeError(f"march {name!r} is not known: choose from {known}, or describe it in {table}")
        adds = entry["adds"]
        assert isinstance(adds, list)
        found.update(adds)
        step = entry.get("from")
    return sorted(found)
