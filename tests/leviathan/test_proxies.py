"""`proxies`, of the tool and of fetch: one table, and generated addresses, over both."""

import ipaddress
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import leviathan.proxies
import leviathan_fetch.proxies

BOTH = pytest.mark.parametrize("module", [leviathan.proxies, leviathan_fetch.proxies], ids=["tool", "fetch"])
PROXY = "http://proxy.example:3128"
DIRECT = ""


def chosen(module: ModuleType, url: str, **environ: str) -> str:
    """The address of the proxy for `url`, or DIRECT."""
    found = module.proxy_for(url, environ)
    return found.url if found else DIRECT


def test_both_files_are_the_same() -> None:
    one, other = (Path(str(each.__file__)).read_text() for each in (leviathan.proxies, leviathan_fetch.proxies))
    assert one == other, "change both: cp tools/leviathan/proxies.py tools/leviathan_fetch/proxies.py"


@BOTH
@pytest.mark.parametrize(
    ("url", "environ", "wanted"),
    [
        ("http://reg.example/v2/", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://reg.example/v2/", {"http_proxy": PROXY}, PROXY),
        ("https://reg.example/v2/", {"HTTP_PROXY": PROXY}, DIRECT),
        ("https://reg.example/v2/", {"HTTPS_PROXY": PROXY}, PROXY),
        ("http://reg.example/v2/", {"HTTPS_PROXY": PROXY}, DIRECT),
        ("http://reg.example/v2/", {"ALL_PROXY": PROXY}, PROXY),
        ("https://reg.example/v2/", {"all_proxy": PROXY}, PROXY),
        ("https://reg.example/", {"ALL_PROXY": "socks5://s:1", "HTTPS_PROXY": PROXY}, PROXY),
        ("https://reg.example/", {"HTTPS_PROXY": " ", "ALL_PROXY": PROXY}, PROXY),
        ("https://reg.example/", {"HTTPS_PROXY": PROXY, "https_proxy": "http://other:1"}, PROXY),
        ("http://reg.example/", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, DIRECT),
        ("https://reg.example/", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://reg.example/", {"HTTPS_PROXY": "http://proxy.example"}, "http://proxy.example:80"),
        ("https://reg.example/", {"HTTPS_PROXY": "https://proxy.example/"}, "https://proxy.example:443"),
        ("https://reg.example/", {"HTTPS_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
        ("https://reg.example/", {"HTTPS_PROXY": "http://a%40b:c%2Fd@p:1"}, "http://a%40b:c%2Fd@p:1"),
        ("http://127.0.0.1:5000/", {"HTTP_PROXY": PROXY}, DIRECT),
        ("http://localhost:5000/", {"HTTP_PROXY": PROXY}, DIRECT),
        ("http://[::1]:5000/", {"HTTP_PROXY": PROXY}, DIRECT),
        ("ftp://reg.example/", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, DIRECT),
    ],
)
def test_the_variables(module: ModuleType, url: str, environ: dict[str, str], wanted: str) -> None:
    assert chosen(module, url, **environ) == wanted


@BOTH
@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("reg.example", "*", True),
        ("reg.example", "reg.example", True),
        ("reg.example", "REG.Example.", True),
        ("reg.example.", "reg.example", True),
        ("a.reg.example", "reg.example", True),
        ("areg.example", "reg.example", False),
        ("reg.example", ".reg.example", False),
        ("a.reg.example", ".reg.example", True),
        ("a.reg.example", "*.reg.example", True),
        ("reg.example", "*.reg.example", False),
        ("reg.example:5000", "reg.example:5000", True),
        ("reg.example:5000", "reg.example:443", False),
        ("reg.example", "reg.example:443", True),
        ("reg.example", "reg.example:http", False),
        ("bücher.example", "bücher.example", True),
        ("xn--bcher-kva.example", ".bücher.example,bücher.example", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.9.9.9/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "1.2.3", False),
        ("10.1.2.3:5000", "10.1.2.3:5000", True),
        ("10.1.2.3:5000", "10.1.2.3:443", False),
        ("10.1.2.3", "10.0.0.0/99,10.0.0.0/x,/8,:443,a:b:c,[,]", False),
        ("10.1.2.3", "10.0.0.0/99,10.0.0.0/8", True),
        ("ten.example", "10.0.0.0/8,0.0.0.0/0,::/0", False),
        ("[fd00::5]:5000", "fd00::/8", True),
        ("[fd00::5]:5000", "[fd00::]/8", True),
        ("[fd00::5]:5000", "fd00::5", True),
        ("[fd00::5]:5000", "[fd00::5]", True),
        ("[fd00::5]:5000", "[fd00::5]:5000", True),
        ("[fd00::5]:5000", "[fd00::5]:443", False),
        ("[fd00:0:0::5]", "FD00::5", True),
        ("[fe80::5%25eth0]", "fe80::/10", True),
        ("[fd00::5]", "10.0.0.0/8", False),
        ("[::ffff:10.1.2.3]", "10.0.0.0/8", True),
        ("reg.example", "localhost other.example reg.example", True),
        ("reg.example", "localhost,,other.example", False),
        ("reg.example", "", False),
    ],
)
def test_no_proxy(module: ModuleType, host: str, no_proxy: str, direct: bool) -> None:
    for names in (("HTTPS_PROXY", "NO_PROXY"), ("https_proxy", "no_proxy")):
        environ = dict(zip(names, (PROXY, no_proxy), strict=True))
        assert chosen(module, f"https://{host}/v2/", **environ) == (DIRECT if direct else PROXY)


@BOTH
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("socks5://127.0.0.1:1080", "ALL_PROXY names a SOCKS proxy (socks5://127.0.0.1:1080): only HTTP proxies"),
        ("socks5h://u:hunter2@h:1", "ALL_PROXY names a SOCKS proxy (socks5h://h:1)"),
        ("garbage:xx", "ALL_PROXY is not the address of a proxy (ALL_PROXY): expected http://HOST:PORT, got "),
        ("http://", "got 'http://'"),
        ("http://u:hunter2@:3128", "got 'http://:3128'"),
        ("http://[::1", "is not the address"),
        ("http://[zz]:1", "is not the address"),
        ("http://h:0", "is not the address"),
        ("http://h:70000", "is not the address"),
        ("ftp://h:1", "is not the address"),
        ("http://a b:1", "is not the address"),
    ],
)
def test_what_is_no_http_proxy_is_refused_by_name_where_it_counts(module: ModuleType, value: str, says: str) -> None:
    with pytest.raises(module.ProxyRefused) as caught:
        module.proxy_for("https://reg.example/", {"ALL_PROXY": value})
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.remedy == (
        "name an HTTP proxy, as in ALL_PROXY=http://HOST:PORT, or add reg.example to NO_PROXY"
    )
    assert chosen(module, "https://reg.example/", ALL_PROXY=value, NO_PROXY="reg.example") == DIRECT
    assert chosen(module, "https://reg.example/", ALL_PROXY=value, HTTPS_PROXY=PROXY) == PROXY


@BOTH
def test_a_password_is_in_no_text_but_the_clients_address(module: ModuleType) -> None:
    proxy = module.parse_proxy("http://user:hunter2@p:1", "HTTPS_PROXY")
    assert "hunter2" in proxy.url
    assert "hunter2" not in f"{proxy} {proxy!r} {proxy.address} {proxy.netloc}"


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}(\.[a-z][a-z0-9]{0,5}){0,3}", fullmatch=True)


def plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is neither a loopback address nor an IPv4 address in the clothes of IPv6."""
    return not address.is_loopback and not (address.version == 6 and address.ipv4_mapped)


ADDRESSES = st.ip_addresses().filter(plain)


@BOTH
@given(ADDRESSES, st.data())
def test_an_address_is_direct_exactly_in_its_networks(
    module: ModuleType, address: ipaddress.IPv4Address | ipaddress.IPv6Address, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, address.max_prefixlen))
    other = data.draw(st.ip_addresses(v=address.version).filter(plain))
    network = ipaddress.ip_network((address, length), strict=False)
    for each in (address, other):
        assert module.bypassed(str(each), 443, f"x.example,{network}") == (each in network)


@BOTH
@given(NAMES, NAMES, st.integers(1, 65535), st.integers(1, 65535))
def test_a_name_is_direct_exactly_below_its_entry(
    module: ModuleType, name: str, entry: str, port: int, other: int
) -> None:
    assume("localhost" not in (name, entry))
    below = f".{name}".endswith(f".{entry}")
    assert module.bypassed(name, port, entry) == below
    assert module.bypassed(f"{entry}", port, f"{entry}:{other}") == (port == other)
    assert module.bypassed(f"{name}.{entry}", port, f".{entry}")
    assert not module.bypassed(entry, port, f".{entry}")


@BOTH
@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(["https://reg.example/", "http://[fd00::5]:5000/"]))
@example("http://[", "[", "https://reg.example/")
@example(":0@0", "", "https://reg.example/")
@example("::1", "[::1]:x,::/129,%", "http://[fd00::5]:5000/")
def test_any_text_in_the_variables_is_an_answer(module: ModuleType, proxy: str, no_proxy: str, url: str) -> None:
    try:
        found = module.proxy_for(url, {"ALL_PROXY": proxy, "NO_PROXY": no_proxy})
    except module.ProxyRefused:
        return
    if found is not None:
        assert module.parse_proxy(found.url, "ALL_PROXY") == found
