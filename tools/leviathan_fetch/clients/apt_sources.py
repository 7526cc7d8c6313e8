"""Read the host's apt sources, both formats, and find in them the mirrors that carry Debian.

Formats: sources.list(5), the one-line style (`*.list`) and the deb822 style (`*.sources`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

RELEASES = ("buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid")
CODENAMES = frozenset([*RELEASES, "stable", "testing", "unstable", "oldstable", "oldoldstable"])
# Options that say how a mirror may be used; they hold for a lab's own mirror whatever the suite is.
KEPT_OPTIONS = ("trusted", "check-valid-until", "check-date", "allow-insecure", "allow-weak", "by-hash")


@dataclass(frozen=True)
class Entry:
    """One source of binary packages: where, which suite, which components, with which options (lower-case names)."""

    uri: str
    suite: str
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)


def parse_list(text: str) -> list[Entry]:
    """The `deb` entries of a one-line style file; comments, `deb-src` and broken lines are left out."""
    entries = []
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)$", line)
        if match is None:
            continue
        given, uri, suite, components = match.groups()
        pairs = (word.split("=", 1) for word in (given or "").split() if "=" in word)
        options = {name.rstrip("+-").lower(): value for name, value in pairs}
        entries.append(Entry(uri, suite, tuple(components.split()), options))
    return entries


def parse_sources(text: str) -> list[Entry]:
    """The enabled `deb` entries of a deb822 style file, one for each URI and suite of a stanza."""
    entries = []
    for fields in stanzas(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        components = tuple(fields.get("components", "").split())
        options = {name: value for name, value in fields.items() if name not in ("types", "uris", "suites")}
        for uri in fields.get("uris", "").split():
            entries += [Entry(uri, suite, components, options) for suite in fields.get("suites", "").split()]
    return entries


def stanzas(text: str) -> Iterable[dict[str, str]]:
    """The paragraphs of a deb822 text: lower-case field name → value, continuation lines joined by newlines."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            if name:
                fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            fields[name] = value.strip()
    if fields:
        yield fields


def read_host(main: Path, parts: Path) -> list[Entry]:
    """Every entry of the host: the file `main` (sources.list), then the folder `parts` (sources.list.d) by name."""
    files = [main] if main.is_file() else []
    if parts.is_dir():
        files += sorted(file for file in parts.iterdir() if file.suffix in (".list", ".sources"))
    entries = []
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        entries += parse_sources(text) if file.suffix == ".sources" else parse_list(text)
    return entries


def role(suite: str) -> str | None:
    """What a Debian suite is for: ``main``, ``updates`` or ``security``; None for anything that is not Debian's."""
    codename, _, rest = suite.replace("/updates", "-security").partition("-")
    if codename not in CODENAMES:
        return None
    return {"": "main", "updates": "updates", "security": "security"}.get(rest)


def debian_mirrors(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Role of a suite (``main``, ``updates``, ``security``) → the entries that serve it, in the host's order.

    Third parties use Debian's codenames too: when some entries are signed with Debian's own keyring, only those count.
    A host without an entry for updates gets them where main is.
    """
    found = [entry for entry in entries if role(entry.suite) and "main" in entry.components]
    signed = [entry for entry in found if "debian-archive" in entry.options.get("signed-by", "")]
    result: dict[str, list[Entry]] = {}
    for entry in [*signed] or found:
        kind = role(entry.suite) or ""
        known = result.setdefault(kind, [])
        for uri in expand(entry.uri):
            if all(uri != other.uri for other in known):
                known.append(Entry(uri, entry.suite, entry.components, entry.options))
    if "main" in result:
        result.setdefault("updates", result["main"])
    return result


def expand(uri: str) -> list[str]:
    """The mirrors behind a `mirror+file:` address (apt-transport-mirror(1): one address a line), else `uri` itself."""
    parts = urlsplit(uri)
    if parts.scheme not in ("mirror+file", "mirror"):
        return [uri.rstrip("/")]
    listing = Path(unquote(parts.path))
    if not listing.is_file():
        return []
    lines = (line.split("#", 1)[0].split() for line in listing.read_text(encoding="utf-8").splitlines())
    return [words[0].rstrip("/") for words in lines if words]
