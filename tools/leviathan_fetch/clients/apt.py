"""A private apt: the host's mirrors, proxies and certificates, but our suites, and a state folder of our own.

Nothing here reads or changes which packages the host has installed. Settings: apt.conf(5).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from leviathan_fetch import process
from leviathan_fetch.clients.apt_sources import KEPT_OPTIONS, Entry, debian_mirrors, read_host, role
from leviathan_fetch.errors import FetchError
from leviathan_fetch.jsonfile import write_text

HELPER = "/usr/lib/apt/apt-helper"
KEYRINGS = tuple(f"/usr/share/keyrings/debian-archive-keyring.{suffix}" for suffix in ("pgp", "gpg"))
NO_DEBIAN = "add a Debian mirror to the host's apt sources, or use fetch --debian-mirror URL"


def available() -> bool:
    """Whether this host has apt."""
    return process.available("apt-get") and Path(HELPER).exists()


def host_mirrors() -> dict[str, list[Entry]]:
    """Role of a suite → the host's mirrors for it (see `debian_mirrors`).

    Errors: FetchError when the host's apt knows no Debian mirror.
    """
    shell = process.run(
        ["apt-config", "shell", "MAIN", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"]
    ).stdout
    names = dict(re.findall(r"^(\w+)='(.*)'$", shell, re.MULTILINE))
    mirrors = debian_mirrors(read_host(Path(names.get("MAIN", "/")), Path(names.get("PARTS", "/nonexistent"))))
    if "main" not in mirrors:
        raise FetchError("the host's apt has no entry for Debian's main component", NO_DEBIAN)
    return mirrors


def mirrors_of(suite: str, mirrors: dict[str, list[Entry]]) -> list[Entry]:
    """The mirrors that carry `suite` (such as ``bookworm-security``).

    Errors: FetchError when the host has none for that kind of suite.
    """
    found = mirrors.get(role(suite) or "", [])
    if not found:
        raise FetchError(f"the host's apt has no mirror for suites like {suite}", NO_DEBIAN)
    return found


def sources_text(suites: Sequence[str], mirrors: dict[str, list[Entry]], architecture: str) -> str:
    """A deb822 sources file: for each of `suites` every mirror the host has for it, component main, package lists only.

    Debian's whole keyring replaces a keyring of one release: the host may be newer than the lock.
    """
    paragraphs = []
    for suite in suites:
        for entry in mirrors_of(suite, mirrors):
            lines = [
                "Types: deb",
                f"URIs: {entry.uri}",
                f"Suites: {suite}",
                "Components: main",
                f"Architectures: {architecture}",
                "Targets: Packages",
            ]
            keyring = next((path for path in KEYRINGS if Path(path).is_file()), None)
            signed = entry.options.get("signed-by", "")
            if "debian-archive" in signed or not signed:
                signed = keyring or signed
            if signed:
                lines.append("Signed-By: " + signed.replace("\n", "\n "))
            lines += [f"{name.title()}: {entry.options[name]}" for name in KEPT_OPTIONS if name in entry.options]
            paragraphs.append("\n".join(lines) + "\n")
    return "\n".join(paragraphs)


def config_text(folder: Path, architecture: str) -> str:
    """An apt.conf for a private state below `folder`; read after the host's, it undoes what would reach outside."""
    clear = (
        "APT::Update::Pre-Invoke APT::Update::Post-Invoke APT::Update::Post-Invoke-Success APT::Default-Release "
        "APT::Architectures APT::Get::Host-Architecture Dir::State Dir::Cache"
    )
    return "\n".join(
        [
            *(f"#clear {name};" for name in clear.split()),
            f'APT::Architecture "{architecture}";',
            f'APT::Architectures {{ "{architecture}"; }};',
            'APT::Sandbox::User "";',
            'APT::Install-Recommends "false";',
            'APT::Install-Suggests "false";',
            'APT::Solver "internal";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            f'Dir::State "{folder}/state";',
            f'Dir::State::lists "{folder}/state/lists";',
            f'Dir::State::status "{folder}/status";',
            f'Dir::State::extended_states "{folder}/extended_states";',
            f'Dir::Cache "{folder}/cache";',
            f'Dir::Cache::archives "{folder}/cache/archives";',
            f'Dir::Cache::pkgcache "{folder}/cache/pkgcache.bin";',
            f'Dir::Cache::srcpkgcache "{folder}/cache/srcpkgcache.bin";',
            f'Dir::Etc::sourcelist "{folder}/debian.sources";',
            'Dir::Etc::sourceparts "/dev/null";',
            'Dir::Etc::preferences "/dev/null";',
            'Dir::Etc::preferencesparts "/dev/null";',
            f'Dir::Log "{folder}/log";',
            "",
        ]
    )


@dataclass(frozen=True)
class Apt:
    """A private apt with its state below `folder`; made by `prepare`."""

    folder: Path
    suites: tuple[str, ...]
    architecture: str

    @property
    def config(self) -> Path:
        """The configuration file that every call names."""
        return self.folder / "apt.conf"

    def argv(self, program: str, *arguments: str) -> list[str]:
        """The command line of `program` (apt-get, apt-helper …) on the private state."""
        return [program, "-c", str(self.config), *arguments]

    def update(self) -> None:
        """Read the mirrors' package lists. Errors: FetchError naming what could not be read."""
        done = process.fetching(self.argv("apt-get", "update", "-q", "--error-on=any"), check=False)
        if done.status != 0:
            raise failure(f"apt cannot read the package lists of {', '.join(self.suites)}", done)

    def solve(self, roots: Sequence[str]) -> list[tuple[str, str]]:
        """Package and version of everything that installing `roots` on an empty system brings in, sorted.

        Errors: FetchError with apt's own words when the roots cannot be installed together.
        """
        done = process.run(self.argv("apt-get", "install", "-s", "-q", *roots), check=False)
        if done.status != 0:
            raise failure("apt cannot solve the roots", done)
        return parse_solution(done.stdout)

    def package_lists(self) -> list[tuple[str, Path]]:
        """Suite and file of each package list that `update` brought."""
        text = process.run(
            self.argv("apt-get", "indextargets", "--format", "$(RELEASE) $(FILENAME)", "Created-By: Packages")
        ).stdout
        return [(suite, Path(name)) for suite, name in (line.split(" ", 1) for line in text.splitlines())]

    def read_list(self, file: Path) -> str:
        """The text of a package list, unpacked as apt unpacks it."""
        return process.run(self.argv(HELPER, "cat-file", str(file))).stdout


def parse_solution(text: str) -> list[tuple[str, str]]:
    """Package and version from the `Inst` lines of `apt-get install -s`: ``Inst name (version label [arch])``."""
    found = re.findall(r"^Inst (\S+) (?:\[[^\]]*\] )?\((\S+) ", text, re.MULTILINE)
    return sorted({(name.split(":", 1)[0], version) for name, version in found})


def prepare(folder: Path, suites: Sequence[str], architecture: str) -> Apt:
    """Write the private configuration and sources below `folder`. Errors: FetchError when no mirror fits."""
    for name in ("state/lists/partial", "cache/archives/partial", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("status", "extended_states"):
        write_text(folder / name, "")
    write_text(folder / "debian.sources", sources_text(suites, host_mirrors(), architecture))
    write_text(folder / "apt.conf", config_text(folder, architecture))
    return Apt(folder, tuple(suites), architecture)


def failure(what: str, done: process.Done, about: str = "") -> FetchError:
    """The error for a failed apt call: apt's `E:` lines (those on `about`, if any is), and a remedy by their kind."""
    lines = [line.strip() for line in done.stderr.splitlines()]
    words = [line[2:].strip() for line in lines if line.startswith("E:") and line != "E: Download Failed"]
    words = [line for line in words if about and unquote(about) in unquote(line)] or words
    text = " | ".join(dict.fromkeys(words)) or done.tail()
    kind, remedy = classify(text)
    return FetchError(f"{what}: {text}", remedy, kind)


def classify(text: str) -> tuple[str, str]:
    """Kind and remedy of an apt error text."""
    if re.search(r"No space left|Write error|write error|ENOSPC", text):
        return "disk", "free some disk space and run it again"
    if re.search(r"Hash Sum mismatch|hash sum mismatch", text):
        return "hash", "run it again; if the error stays, the mirror or the lock is broken: make lock"
    if re.search(r"\b(404|410)\b|Not Found|File not found|No such file", text):
        return "gone", "make lock, or use an archive that keeps old versions: --debian-mirror URL"
    if re.search(r"resolving|resolve|[Cc]onnect|timed out|unreachable|Connection|\b50[0234]\b", text):
        return "network", "check the network and apt's proxy settings, then run it again"
    return "other", ""
