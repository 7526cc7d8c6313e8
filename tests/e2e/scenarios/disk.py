"""The node's disk: a loop device as large as the real one, with a GPT and an XFS partition that holds a model.

The file behind it is sparse, so 3.7 TB cost a few megabytes. A kernel without the GPT parser
(CONFIG_EFI_PARTITION) does not read the partition table: `partx` reads it and tells the kernel. A kernel with the
parser has read it already.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import gpt
from .errors import WayError, run

SIZE = 3_700_000_000_000
LABEL = "models"


class LoopDisk:
    """A loop disk; a context manager. `disk` is the whole disk's device, `partition` its first partition's, and `name`
    the partition's lasting name; `alias` is another, of which nothing stands behind before `point_alias`.

    Arguments: `file`, the sparse file that is made, removed at the end; `size`, in bytes; `content`, a folder whose
    files are copied to `where` on the partition. Errors: WayError, when a program is missing or this user is not root.
    """

    def __init__(self, file: Path, content: Path, where: str, size: int = SIZE) -> None:
        self.file = file
        self.content = content
        self.where = where
        self.size = size
        self.disk = Path()
        self.guid = uuid.uuid4()
        self.name = Path(f"/dev/disk/by-partuuid/{self.guid}")  # what no other disk of this machine can be called
        self.alias = Path(f"/dev/disk/by-id/loop-{self.guid}")

    @property
    def partition(self) -> Path:
        """The partition's device."""
        return Path(f"{self.disk}p1")

    def __enter__(self) -> "LoopDisk":
        self.file.touch()
        with self.file.open("r+b") as stream:
            stream.truncate(self.size // gpt.SECTOR * gpt.SECTOR)
        gpt.write(self.file, self.guid, LABEL)
        self.disk = Path(run(["losetup", "--find", "--show", "--partscan", str(self.file)]).strip())
        try:
            self.add_partition()
            run(["mkfs.xfs", "-q", "-f", "-K", "-L", LABEL, "-l", "size=64m", str(self.partition)])
            self.fill()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(WayError):
            run(["partx", "--delete", str(self.disk)])
        with suppress(WayError):
            run(["losetup", "--detach", str(self.disk)])
        self.name.unlink(missing_ok=True)
        self.alias.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)

    def add_partition(self) -> None:
        """See to it that the kernel knows the partition. Errors: WayError when it does not."""
        if not self.partition.exists():
            run(["partx", "--add", str(self.disk)])
        if not self.partition.is_block_device():
            raise WayError(f"the kernel has no {self.partition}: its loop devices take no partitions")
        if not self.name.exists():  # where no udev runs
            self.name.parent.mkdir(parents=True, exist_ok=True)
            self.name.symlink_to(self.partition)

    def point_alias(self, device: Path) -> None:
        """See to it that `alias` is a name of `device`, as udev does: the link is never missing in between."""
        self.alias.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.alias.with_suffix(".new")
        fresh.symlink_to(device)
        fresh.rename(self.alias)

    def remove_partition(self) -> None:
        """Have the kernel forget the partition, of which the table still tells. Errors: WayError when it is in use."""
        run(["partx", "--delete", str(self.disk)])

    def fill(self) -> None:
        """Copy the content onto the partition, through a mount that is gone afterwards."""
        with self.mounted() as point:
            shutil.copytree(self.content, point / self.where, dirs_exist_ok=True)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """The partition, mounted for writing at a folder that is gone afterwards. Errors: WayError."""
        with tempfile.TemporaryDirectory() as point:
            run(["mount", "-t", "xfs", str(self.partition), point])
            try:
                yield Path(point)
            finally:
                run(["umount", point])
