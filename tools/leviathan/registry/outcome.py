"""What came of one blob of a push."""

from dataclasses import dataclass
from enum import Enum

from leviathan.oci.layout import Blob


class How(Enum):
    """How a blob came to be in the registry; MISSING only where nothing was to be changed (a dry run)."""

    PRESENT = "present"
    MOUNTED = "mounted"
    SENT = "sent"
    MISSING = "missing"


@dataclass(frozen=True)
class Outcome:
    """What was done for one blob: `sent` bytes went out, from byte `resumed_at`, which an earlier run had reached."""

    blob: Blob
    how: How
    sent: int = 0
    resumed_at: int = 0
