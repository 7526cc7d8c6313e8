"""The result of a push, as text and as JSON."""

import json
from dataclasses import dataclass
from typing import Any

from leviathan.registry.layout import Image
from leviathan.registry.upload import BlobOutcome, Outcome
from leviathan.terminal.progress import size_text, time_text


@dataclass(frozen=True)
class PushResult:
    """The result of a push: `outcomes` has one entry per blob; `tags` is None if nothing was changed."""

    reference: str
    digest: str
    image: Image
    outcomes: tuple[Outcome, ...]
    manifests_sent: int
    tag_moved: bool
    seconds: float
    dry_run: bool = False
    tags: tuple[str, ...] | None = None

    @property
    def changed(self) -> bool:
        """Whether the registry was (in a dry run: would be) changed."""
        return (
            self.tag_moved
            or self.manifests_sent > 0
            or any(each.how is not BlobOutcome.PRESENT for each in self.outcomes)
        )

    def count(self, how: BlobOutcome) -> int:
        """The number of blobs with this outcome."""
        return sum(each.how is how for each in self.outcomes)

    @property
    def sent(self) -> int:
        """Bytes of blobs that were sent, including those sent twice."""
        return sum(each.sent for each in self.outcomes)

    def text(self) -> str:
        """The result for people; its last line is what `curl REGISTRY/v2/NAME/tags/list` prints."""
        head = f"{self.reference}@{self.digest}"
        if not self.changed:
            whole = size_text(self.image.size)
            return f"{head}\nnothing to do: the registry has all {len(self.outcomes)} blobs, {whole}"
        if self.dry_run:
            size = sum(each.blob.size for each in self.outcomes if each.how is BlobOutcome.MISSING)
            return (
                f"{head}\nwould upload {self.count(BlobOutcome.MISSING)} of {len(self.outcomes)} blobs, "
                f"{size_text(size)}"
            )
        speed = f" at {size_text(self.sent / self.seconds)}/s" if self.sent and self.seconds > 0 else ""
        parts = [
            f"{self.count(BlobOutcome.SENT)} blobs uploaded"
            f" ({size_text(self.sent)} in {time_text(self.seconds)}{speed})",
            *([f"{self.count(BlobOutcome.MOUNTED)} mounted"] if self.count(BlobOutcome.MOUNTED) else []),
            f"{self.count(BlobOutcome.PRESENT)} already in the registry",
        ]
        name = self.reference.split("/", 1)[1].rsplit(":", 1)[0]
        return f"{head}\n{', '.join(parts)}\n{tags_json(name, self.tags or ())}"

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "reference": self.reference,
            "digest": self.digest,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "bytes": self.image.size,
            "bytes_sent": self.sent,
            "seconds": round(self.seconds, 3),
            "tag_moved": self.tag_moved,
            "tags": list(self.tags) if self.tags is not None else None,
            "blobs": [
                {
                    "digest": each.blob.digest,
                    "bytes": each.blob.size,
                    "how": each.how.value,
                    "bytes_sent": each.sent,
                    "resumed_at": each.resumed_at,
                }
                for each in self.outcomes
            ],
        }


def tags_json(name: str, tags: tuple[str, ...]) -> str:
    """A tag list in the registry's JSON."""
    return json.dumps({"name": name, "tags": list(tags)}, separators=(",", ":"))
