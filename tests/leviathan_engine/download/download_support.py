"""One download from the double of a hub."""

import argparse
import random
import threading
from collections.abc import Iterator
from pathlib import Path

from hub_double import REPOSITORY, HubDouble
from leviathan_engine.download import __main__ as program
from leviathan_engine.download.retry import Retry
from leviathan_engine.download.source import hub_files
from leviathan_engine.download.transfer import Settings, Transfer
from leviathan_engine.download.web import Web

TOOLS = Path(program.__file__).parents[2]
CHUNK = 64 << 10


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def served() -> Iterator[HubDouble]:
    double = HubDouble(
        {
            "README.md": b"read me",
            "Q4/m-00001-of-00002.gguf": noise(1_000_003),
            "Q4/m-00002-of-00002.gguf": noise(300_000, 2),
            "Q8/m.gguf": noise(10, 3),
        }
    )
    yield double
    double.close()


def transfer(hub: HubDouble, folder: Path, said: list[str] | None = None, **more: float) -> Transfer:
    lines = said if said is not None else []
    web = Web(silence_s=more.pop("silence_s", 5.0))
    retry = Retry(int(more.pop("attempts", 6)), 0.01, say=lines.append)
    files = hub_files(web, retry, hub.address, REPOSITORY, "main", ["Q4/*.gguf"])
    return Transfer(files, folder, web, retry, Settings(4, CHUNK, sync_s=0.05, beat_s=0.05), lines.append)


def right(hub: HubDouble, folder: Path) -> bool:
    names = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    return all((folder / name).read_bytes() == hub.files[f"Q4/{name}"] for name in names)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.part*")]


def run_program(hub: HubDouble, folder: Path, *more: str, environ: dict[str, str] | None = None) -> None:
    arguments = ["--to", str(folder), "--hub", hub.address, "--repo", REPOSITORY, "--include", "Q4/*.gguf"]
    flags = program._parser().parse_args([*arguments, "--pause_s=0.01", "--attempts=4", "--chunk_mib=1", *more])
    program.run(flags, environ or {}, threading.Event())


def url_flags(urls: list[str], folder: Path) -> argparse.Namespace:
    return program._parser().parse_args(["--to", str(folder), "--pause_s=0.01", *(f"--url={each}" for each in urls)])
