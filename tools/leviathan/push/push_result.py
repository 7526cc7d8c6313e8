"""What a push did, for people and for programs."""

import json
from dataclasses import dataclass
from typing import Any

from leviathan.registry.layout import Image
from leviathan.registry.upload import BlobOutcome, Outcome
from leviathan.terminal.progress import size_text, time_text


@dataclass(frozen=True)
class PushResult:
    """What a push did: `outcomes` has one entry a blob; `tags` is None when nothing had to be changed."""

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
        """Whether the registry is (in a dry run: would be) different from before."""
        return (
            self.tag_moved
            or self.manifests_sent > 0
            or any(each.how is not BlobOutcome.PRESENT for each in self.outcomes)
        )

    def count(self, how: BlobOutcome) -> int:
        """How many blobs came to be there in this way."""
        return sum(each.how is how for each in self.outcomes)

    @property
    def sent(self) -> int:
        """Bytes of blobs that went out, those sent again included."""
        return sum(each.sent for each in self.outcomes)

    def text(self) -> str:
        """The result for people; its last line is what `curl REGISTRY/v2/NAME/tags/list` prints."""
        head = f"{self.reference}@{self.digest}"
        if not self.changed:
            return f"{head}\nnothing to do: {len(self.outcomes)} blobs, {size_text(self.image.size)}, all there already"
        if self.dry_run:
            size = sum(each.blob.size for each in self.outcomes if each.how is BlobOutcome.MISSING)
            return (
                f"{head}\nwould send {self.count(BlobOutcome.MISSING)} of {len(self.outcomes)} blobs, {size_text(size)}"
            )
        speed = f" at {size_text(self.sent / self.seconds)}/s" if self.sent and self.seconds > 0 else ""
        parts = [
            f"{self.count(BlobOutcome.SENT)} blobs sent ({size_text(self.sent)} in {time_text(self.seconds)}{speed})",
            *([f"{self.count(BlobOutcome.MOUNTED)} mounted"] if self.count(BlobOutcome.MOUNTED) else []),
            f"{self.count(BlobOutcome.PRESENT)} there already",
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
    """A tag list as the registry prints it."""
    return json.dumps({"name": name, "tags": list(tags)}, separators=(",", ":"))
