"""How long a kubelet waits for what. The defaults are those of Kubernetes 1.34 (pkg/kubelet/kubelet.go)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """All in seconds. `crash_*`: the waits before a container is started again; `image_*`: between pulls;
    `sync`: how soon a pod that could not be brought on is looked at again; `tick`: how often a pod is looked at
    without a reason; `heartbeat`: between renewals of the node's Lease (`lease` is what it is good for); `status`:
    between the node's status reports.
    """

    crash_base: float = 10
    crash_cap: float = 300
    crash_reset: float = 600
    image_base: float = 10
    image_cap: float = 300
    sync: float = 10
    mount_base: float = 0.5
    mount_cap: float = 122
    tick: float = 1
    heartbeat: float = 10
    lease: int = 40
    status: float = 10
    least_grace: float = 2

    @classmethod
    def quick(cls) -> "Timing":
        """The same order of things about ten times as fast, for tests."""
        return cls(
            crash_base=1, crash_cap=8, image_base=1, image_cap=8, sync=2, mount_cap=4, tick=0.2, heartbeat=1, status=2
        )


class Backoff:
    """Waits that double from `base` to `cap`, by key, as client-go's flowcontrol.Backoff."""

    def __init__(self, base: float, cap: float, reset: float) -> None:
        """All in seconds; a key that was not touched for `reset` seconds starts from `base` again."""
        self._base, self._cap, self._reset = base, cap, reset
        self._entries: dict[str, tuple[float, float]] = {}

    def wait(self, key: str) -> float:
        """The present wait of a key, 0 for one that has not failed yet."""
        return self._entries.get(key, (0.0, 0.0))[0]

    def blocked(self, key: str, since: float, now: float) -> bool:
        """Whether less than the present wait has gone by since `since`."""
        wait, touched = self._entries.get(key, (0.0, 0.0))
        return now - touched <= self._reset and now - since < wait

    def next(self, key: str, now: float) -> None:
        """Count one more failure."""
        wait, touched = self._entries.get(key, (0.0, 0.0))
        fresh = wait == 0 or now - touched > self._reset
        self._entries[key] = (self._base if fresh else min(wait * 2, self._cap), now)

    def touched(self, key: str) -> float:
        """When the key last failed."""
        return self._entries.get(key, (0.0, 0.0))[1]

    def forget(self, key: str) -> None:
        """Reset the key."""
        self._entries.pop(key, None)
