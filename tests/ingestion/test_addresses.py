from __future__ import annotations

import ipaddress
import re
import tomllib
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from candide.errors import FetchError
from candide.ingestion.addresses import Policy, embedded, is_public, normalize, parse_ip

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
PRIVATE_6 = [
    "::",
    "::1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "2001:db8::1",
    "64:ff9b:1::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "172.32.0.1",
    "2606:4700::1111",
    "2a01:e0a::1",
]


@pytest.mark.parametrize("text", PRIVATE + PRIVATE_6)
def test_an_address_that_is_not_of_the_internet_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def wrap(address: ipaddress.IPv4Address) -> list[ipaddress.IPv6Address]:
    """All the ways in which IPv6 stands for an IPv4 address."""
    number = int(address)
    return [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number),
        # Teredo: the server, flags and a port, and the client's address with its bits turned.
        ipaddress.IPv6Address((0x20010000 << 96) | (0x08080808 << 64) | (number ^ 0xFFFFFFFF)),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("2606:4700::5efe:0:0")) | number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("2606:4700::200:5efe:0:0")) | number),
    ]


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_address_that_is_wrapped_into_ipv6_is_not_public(text: str) -> None:
    for wrapped in wrap(ipaddress.IPv4Address(text)):
        assert not is_public(wrapped), wrapped


@given(st.ip_addresses(v=4))
def test_what_is_wrapped_is_as_public_as_what_is_inside(address: ipaddress.IPv4Address) -> None:
    for wrapped in wrap(address):
        assert address in embedded(wrapped)
        assert is_public(wrapped) == is_public(address)


@given(st.ip_addresses())
def test_nothing_public_lies_in_a_network_that_is_not(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_public(address) or embedded(address)


ODD = [
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[::]/",
    "http://127.0.0.1%00.example.com/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://printer.local/",
    "http://metadata.google.internal/",
]


@pytest.mark.parametrize("url", ODD)
def test_this_machine_is_refused_however_it_is_written(url: str) -> None:
    with pytest.raises(FetchError):
        Policy().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "javascript:alert(1)",
        "data:text/html,x",
        "//example.com/x",
        "http://",
        "http:///x",
        "http://user:secret@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com:22/",
        "http://example.com:6379/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://exa mple.com:80:80/",
        "http://-bad-.example/",
        "http://" + "a" * 64 + ".example/",
        "",
    ],
)
def test_an_odd_scheme_port_or_host_is_refused(url: str) -> None:
    with pytest.raises(FetchError):
        Policy().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://example.com:8443/a?b",
        "http://bücher.example:8080/",
        "https://1.1.1.1/",
    ],
)
def test_the_web_is_open(url: str) -> None:
    assert Policy().check_url(url).host


def test_a_refusal_names_what_would_open_it() -> None:
    with pytest.raises(FetchError) as refused:
        Policy().check_url("http://10.0.0.7:3000/wiki")
    hint = str(refused.value)
    assert "--fetch-allowed 10.0.0.7:3000" in hint
    setting = re.search(r"fetch_allowed = \S+", hint)
    assert setting is not None
    assert tomllib.loads(setting[0]) == {"fetch_allowed": ["10.0.0.7:3000"]}
    assert Policy(["10.0.0.7:3000"]).check_url("http://10.0.0.7:3000/wiki").port == 3000


@pytest.mark.parametrize(
    ("allowed", "opened", "closed"),
    [
        ("10.0.0.7", ["http://10.0.0.7/", "http://10.0.0.7:9999/"], ["http://10.0.0.8/"]),
        ("10.0.0.7:3000", ["http://10.0.0.7:3000/"], ["http://10.0.0.7/", "http://10.0.0.7:3001/"]),
        (
            "10.0.0.0/8",
            ["http://10.9.8.7/", "http://10.0.0.1:5000/", "http://[::ffff:10.0.0.1]/"],
            ["http://11.0.0.1:5000/"],
        ),
        ("[::1]:8000", ["http://[::1]:8000/"], ["http://[::1]/"]),
        ("::1", ["http://[::1]/", "http://[0:0::1]:81/"], ["http://127.0.0.1/"]),
        ("localhost", ["http://localhost:5000/", "http://LocalHost./"], ["http://127.0.0.1:5000/"]),
        (
            "*.intranet.local",
            ["http://wiki.intranet.local:81/"],
            ["http://intranet.local/", "http://x.local/"],
        ),
    ],
)
def test_the_list_opens_what_it_names_and_no_more(allowed: str, opened: list[str], closed: list[str]) -> None:
    policy = Policy([allowed])
    for url in opened:
        assert policy.check_url(url)
    for url in closed:
        with pytest.raises(FetchError):
            policy.check_url(url)


def test_a_name_leads_only_to_what_is_public_or_opened_for_it() -> None:
    policy = Policy(["wiki.intranet", "db.intranet:5432"])
    inside = ipaddress.ip_address("10.0.0.5")
    assert policy.permits("wiki.intranet", 80, inside)
    assert policy.permits("db.intranet", 5432, inside)
    assert not policy.permits("db.intranet", 80, inside)
    assert not policy.permits("evil.example", 80, inside)
    assert not policy.permits("evil.example", 22, ipaddress.ip_address("1.1.1.1"))
    assert policy.permits("example.com", 443, ipaddress.ip_address("1.1.1.1"))


@pytest.mark.parametrize("entry", ["a b", "http://x", "10.0.0.0/99", "host:port", "host:0", "host:70000", ""])
def test_an_entry_of_the_list_without_sense_is_refused(entry: str) -> None:
    with pytest.raises(ValueError):
        Policy([entry])


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("HTTP://Example.COM:80", "http://example.com/"),
        ("https://example.com:443/a#part", "https://example.com/a"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("https://example.com/a/../b/./c", "https://example.com/b/c"),
        ("https://example.com/%7Euser/%C3%A9t%c3%a9", "https://example.com/~user/%C3%A9t%C3%A9"),
        ("https://example.com/été?q=où", "https://example.com/%C3%A9t%C3%A9?q=o%C3%B9"),
        ("https://example.com/?utm_source=x&id=3&fbclid=y", "https://example.com/?id=3"),
        ("https://example.com/?utm_source=x", "https://example.com/"),
        ("https://example.com/a?b=2&a=1&&", "https://example.com/a?b=2&a=1"),
        ("https://example.com/a;jsessionid=ABC?x=1", "https://example.com/a?x=1"),
        ("https://user:secret@example.com/", "https://example.com/"),
        ("https://example.com./", "https://example.com/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        (" https://example.com/\n a b ", "https://example.com/%20a%20b"),
        ("https://example.com/a%2Fb?c=%26", "https://example.com/a%2Fb?c=%26"),
    ],
)
def test_an_address_is_written_in_one_way(written: str, normal: str) -> None:
    assert normalize(written) == normal


def test_a_link_is_completed() -> None:
    base = "https://example.com/docs/a?x=1"
    assert normalize("b.html", base) == "https://example.com/docs/b.html"
    assert normalize("/c", base) == "https://example.com/c"
    assert normalize("//other.example/d", base) == "https://other.example/d"
    assert normalize("?y=2", base) == "https://example.com/docs/a?y=2"
    assert normalize("../..//e", base) == "https://example.com//e"


@pytest.mark.parametrize(
    "text",
    [
        "mailto:a@b.c",
        "javascript:void(0)",
        "tel:1",
        "data:,x",
        "http://",
        "x" * 10,
        "http://0x7f.1/",
        "",
        "https://e.x/" + "a" * 2_000,
    ],
)
def test_what_is_no_address_of_the_web_has_no_normal_form(text: str) -> None:
    assert normalize(text) is None


hosts = st.sampled_from(
    ["example.com", "EXAMPLE.com.", "bücher.example", "1.1.1.1", "[2606:4700::1]", "a@b.example", "x:81"]
)
tails = st.text(st.sampled_from("ab/.%2Ffé?&=#;+ \t\\utm_id~'\"<>[]{}|^`$!,:@*()0"), max_size=40)


@given(st.sampled_from(["http", "HTTPS", "https"]), hosts, tails)
@example("http", "example.com", "/a;jsessionid=x/../b")
@example("http", "example.com", "/.;jsessionid=./x")
@example("http", "example.com", "/%2E%2e/a?%75tm_id=3")
@example("http", "example.com", "?%")
def test_normalising_twice_changes_nothing(scheme: str, host: str, tail: str) -> None:
    normal = normalize(f"{scheme}://{host}{tail}")
    if normal is None:
        return
    assert normalize(normal) == normal
    parts = urlsplit(normal)
    assert parts.scheme in ("http", "https")
    assert "@" not in parts.netloc
    assert parts.netloc == parts.netloc.lower()
    assert not parts.fragment
    assert parts.path.startswith("/")
    assert normal.isascii()


@given(st.text(max_size=60), st.text(max_size=20))
def test_whatever_is_given_is_an_address_of_the_web_or_none(text: str, base: str) -> None:
    for normal in (normalize(text), normalize(text, "https://example.com/a/"), normalize(text, base)):
        assert normal is None or normal.startswith(("http://", "https://"))


@given(st.text(max_size=40))
def test_whatever_is_given_is_checked_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/", f"http://example.com{text}"):
        try:
            checked = Policy().check_url(url)
        except FetchError:
            continue
        address = parse_ip(checked.host or "")
        assert address is None or is_public(address)
        assert checked.scheme in ("http", "https")
        assert checked.user is None
