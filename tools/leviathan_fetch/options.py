"""The options of the command `fetch`, and the addresses in them, checked before anything asks them."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from leviathan_fetch.errors import FetchError

SCHEMES = ("http", "https", "ftp", "file")


@dataclass(frozen=True)
class Options:
    """How to fetch: the list of artifacts (a file, ``-``, or None for the flake's own), downloads at a time, and the
    addresses that stand in for apt and pip where they are given."""

    artifacts: str | None
    jobs: int
    debian_mirror: str | None
    debian_security_mirror: str | None
    index_url: str | None

    def __post_init__(self) -> None:
        """Errors: FetchError naming the option whose address is none."""
        for name in ("debian_mirror", "debian_security_mirror", "index_url"):
            if url := getattr(self, name):
                check_address(name.replace("_", "-"), url)


def check_address(option: str, url: str) -> None:
    """Errors: FetchError naming `option` (such as ``index-url``) unless `url` is an address that can be asked.

    RFC 3986 §3: a scheme, here one that urllib knows, and for all but ``file`` a host; ASCII without white space.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in SCHEMES and bool(parts.hostname or parts.scheme == "file") and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or any(letter.isspace() for letter in url):
        what = f"--{option}: expected an address such as https://host/path, got {url.rpartition('@')[2]!r}"
        raise FetchError(what, f"correct it, or LEVIATHAN_{option.upper().replace('-', '_')} in the environment")
