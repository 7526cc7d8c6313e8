"""Which proxy the environment names for an address, as curl and Go (kubectl, docker, skopeo) decide it.

httpx, kubernetes and urllib each read the proxy variables in a way of their own, and each misses part of what NO_PROXY
means: networks, IPv6, ports. So the tool's clients ask this module, and the libraries read no variable.

The rules are those of Go's golang.org/x/net/http/httpproxy. Where curl differs, Go's rule holds, because kubectl and
docker stand next to this tool: localhost and loopback addresses never go through a proxy, and `.example.org` in
NO_PROXY means the hosts below example.org only. ALL_PROXY is curl's alone; it counts where no other variable does.

`leviathan.proxies` and `leviathan_fetch.proxies` are the same file, twice: fetch runs before there is an environment
with the rest of the tool, and imports nothing of it. A test compares the two files, and runs on both.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

PORTS = {"http": 80, "https": 443}
SOCKS = ("socks", "socks4", "socks4a", "socks5", "socks5h")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ProxyRefused(Exception):
    """A proxy is named that cannot be used: `what` is wrong, `where` it is named, `why`, and the `remedy`."""

    def __init__(self, what: str, *, where: str, why: str, remedy: str) -> None:
        super().__init__(f"{what} ({where}): {why}; fix: {remedy}")
        self.what, self.where, self.why, self.remedy = what, where, why, remedy


@dataclass(frozen=True)
class Proxy:
    """A proxy. `scheme` is how it is spoken to (http or https), `source` the variable or field that names it."""

    scheme: str
    host: str
    port: int
    source: str
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def netloc(self) -> str:
        """Host and port, as in an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def address(self) -> str:
        """The proxy's address without user name and password: for clients that take those apart, and for messages."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def has_login(self) -> bool:
        """Whether it has a user name, or a password alone, which some proxies take as a token."""
        return bool(self.username or self.password)

    @property
    def url(self) -> str:
        """The proxy's address with user name and password: for clients, never for messages."""
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@" if self.has_login else ""
        return f"{self.scheme}://{login}{self.netloc}"


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for `url` (http or https), or None when the address is to be asked directly.

    HTTPS_PROXY counts for https addresses, HTTP_PROXY for http ones, ALL_PROXY for both where that one is not set; each
    in upper or in lower case. HTTP_PROXY is not read inside a CGI program, where a client could set it.
    Errors: ProxyRefused when the variable that counts names no HTTP proxy. ValueError when `url` is not an address.
    """
    parts = urlsplit(url)
    port = parts.port or PORTS.get(parts.scheme, 0)
    names = {"http": ("HTTP_PROXY", "ALL_PROXY"), "https": ("HTTPS_PROXY", "ALL_PROXY")}.get(parts.scheme, ())
    for name in names:
        if name == "HTTP_PROXY" and environ.get("REQUEST_METHOD"):
            continue
        source = next((each for each in (name, name.lower()) if environ.get(each, "").strip()), "")
        if source:
            no_proxy = environ.get("NO_PROXY", "") or environ.get("no_proxy", "")
            host = parts.hostname or ""
            return None if not host or bypassed(host, port, no_proxy) else parse_proxy(environ[source], source, host)
    return None


def parse_proxy(text: str, source: str, host: str = "") -> Proxy:
    """The proxy that `text` names: `http://user:password@host:port`, where all but the host may be absent.

    Arguments: `source` is the variable or field with that text, `host` the one that is to be asked, for the remedy.
    Errors: ProxyRefused.
    """
    text = text.strip()
    remedy = f"name an HTTP proxy, as in {source}=http://HOST:PORT" + (f", or add {host} to NO_PROXY" if host else "")
    scheme, name, port = "", "", None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme, name, port = parts.scheme, parts.hostname or "", parts.port
        if ":" in name:
            ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        name = ""
    if scheme in SOCKS:
        raise ProxyRefused(
            f"{source} names a SOCKS proxy", where=public(text), why="only HTTP proxies are supported", remedy=remedy
        )
    if scheme not in PORTS or not name or port == 0 or not re.fullmatch(r"[^\s\x00-\x1f\x7f/\\]+", name):
        why = f"expected http://HOST:PORT, got {public(text)!r}"
        raise ProxyRefused(f"{source} is not the address of a proxy", where=source, why=why, remedy=remedy)
    login = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(scheme, name, port or PORTS[scheme], source, *login)


def public(text: str) -> str:
    """An address, or what should be one, without the user name and password in it, for messages."""
    before, separator, after = text.partition("://")
    rest = after if separator else before
    return f"{before}{separator}"[: len(text) - len(rest)] + rest.rpartition("@")[2]


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Whether `host`:`port` is asked directly by the value of NO_PROXY; `host` has no brackets.

    An entry is `*`, a name (with all names below it), `.name` or `*.name` (only those below it), an IP address, or a
    network such as 10.0.0.0/8 or fd00::/8; a name or address may end with :PORT. IPv6 addresses may have brackets.
    Entries are separated by commas or blanks; what is none of these is skipped.
    """
    name = _ascii(host)
    address = _address(name)
    if name == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry, name, address, port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _matches(entry: str, name: str, address: Address | None, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        network = _network(entry)
        return network is not None and address is not None and address in network
    wanted, only_port = _split_port(entry)
    if only_port not in (None, port):
        return False
    single = _address(wanted)
    if single is not None or address is not None:
        return single == address
    wanted = _ascii(wanted.removeprefix("*"))
    if wanted.startswith("."):
        return len(wanted) > 1 and name.endswith(wanted)
    return bool(wanted) and (name == wanted or name.endswith(f".{wanted}"))


def _split_port(entry: str) -> tuple[str, int | None]:
    """Host and port of an entry of NO_PROXY; the port is None when there is none, -1 when it is not a number."""
    found = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", entry) or re.fullmatch(r"([^:]*):([^:]*)", entry)
    if found is None:
        return entry, None
    if found[2] is None:
        return found[1], None
    return found[1], int(found[2]) if re.fullmatch(r"[0-9]{1,5}", found[2]) else -1


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    base, _, length = entry.partition("/")
    if not re.fullmatch(r"[0-9]{1,3}", length):
        return None
    try:
        return ipaddress.ip_network((base.removeprefix("[").removesuffix("]"), int(length)), strict=False)
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    """An IP address without zone; an IPv4 address that is written as IPv6 is the IPv4 address."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def _ascii(name: str) -> str:
    """A host's name as it is compared: lower case, no dot at its end, other letters as IDNA writes them."""
    name = name.lower().removesuffix(".")
    if name.isascii():
        return name
    try:
        dot = "." if name.startswith(".") else ""
        return dot + name.removeprefix(".").encode("idna").decode("ascii")
    except UnicodeError:
        return name
