"""Addresses that options name, looked at before anything asks them."""

from urllib.parse import urlsplit

from leviathan_fetch.errors import FetchError

SCHEMES = ("http", "https", "ftp", "file")


def check(option: str, url: str) -> None:
    """Errors: FetchError naming `option` (such as ``index-url``) unless `url` is an address that can be asked.

    RFC 3986 §3: a scheme, here one that urllib knows, and for all but ``file`` a host; ASCII without white space.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in SCHEMES and bool(parts.hostname or parts.scheme == "file") and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or any(letter.isspace() for letter in url):
        what = f"--{option} is {url.rpartition('@')[2]!r}, wanted an address such as https://host/path"
        raise FetchError(what, f"correct it, or LEVIATHAN_{option.upper().replace('-', '_')} in the environment")
