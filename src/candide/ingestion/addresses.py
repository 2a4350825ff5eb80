"""Addresses: which may be fetched, and when two of them mean the same page.

What can be fetched is named by others: a link, a redirect, a feed. So it may lead nowhere but to the public internet,
and to what the owner has opened by name. `Policy.check_url` looks at an address as it is written, `Policy.permits` at
the numeric address that a name really led to; both must agree, and the fetcher asks both before a byte is sent.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from yarl import URL

from candide.errors import FetchError

SCHEMES = ("http", "https")
PORTS = frozenset({80, 443, 8080, 8443})
MAX_URL_LENGTH = 2_000

TRACKING = re.compile(
    r"(?:utm_\w+|mtm_\w+|matomo_\w+|pk_\w+|piwik_\w+|hsa_\w+|_hs\w+|at_(?:medium|campaign|custom\d|variant)|xtor|"
    r"fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|yclid|ysclid|twclid|ttclid|li_fat_id|igshid|igsh|mc_cid|mc_eid|"
    r"mkt_tok|vero_id|oly_enc_id|oly_anon_id|_ga|_gl|srsltid|wt_mc|wt_zmc|phpsessid|jsessionid|aspsessionid\w*)",
    re.IGNORECASE,
)
"""Parameters that tell who came from where, and change nothing about the page."""

_SESSION_IN_PATH = re.compile(r";(?:jsessionid|phpsessid)=[^/;?]*", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TEREDO = ipaddress.IPv6Network("2001::/32")
_NOT_PUBLIC: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network, and in practice this machine
        "100.64.0.0/10",  # carriers' NAT
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",  # benchmarks of networks
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001:db8::/32",  # documentation
        "3fff::/20",
        "5f00::/16",  # segment routing
    )
)


class RefusedAddress(FetchError):
    """It may not be fetched, whatever would answer there."""


class Policy:
    """What may be fetched: public addresses on the usual ports, and what `allowed` opens.

    An entry of `allowed` is a host (`wiki.intranet`, `*.intranet`, `10.0.0.7`), a host and its one port
    (`wiki.intranet:3000`), or a network (`10.0.0.0/8`). A host or network without a port is open on all of them.
    Raises ValueError for an entry that is none of these.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._hosts: set[tuple[str, int | None]] = set()
        self._suffixes: set[tuple[str, int | None]] = set()
        self._networks: list[Network] = []
        for entry in allowed:
            self._allow(entry.strip().lower())

    def _allow(self, entry: str) -> None:
        if "/" in entry:
            self._networks.append(ipaddress.ip_network(entry, strict=False))
            return
        host, port = _split_port(entry)
        if host.startswith("*."):
            self._suffixes.add((host[1:], port))
            return
        address = parse_ip(host)
        if address is None and not all(_NAME.fullmatch(label) for label in host.rstrip(".").split(".")):
            raise ValueError(f"'{entry}' is no host, host:port or network like 10.0.0.0/8")
        self._hosts.add((str(address) if address else host.rstrip("."), port))

    def check_url(self, url: str | URL) -> URL:
        """The address as it is fetched: parsed once, by the parser that the connection is made with.

        Raises RefusedAddress when it cannot be fetched, or must not be, whatever its name leads to.
        """
        parsed = _parse(url)
        host, port = (parsed.host or "").rstrip("."), parsed.port or 0
        address = parse_ip(host)
        if address is not None:
            if not self.permits(host, port, address):
                raise refuse(parsed, address)
        elif not self._is_named(host, port) and not self._networks:
            if port not in PORTS:
                raise _odd_port(parsed)
            if host == "localhost" or host.endswith((".localhost", ".local", ".internal", ".home.arpa")):
                raise _refused(parsed, None)
        return parsed

    def permits(self, host: str, port: int, address: Ip) -> bool:
        """Whether a connection for `host` may go to this address and port."""
        if self._is_named(host, port) or any(
            inner in network for inner in (address, *embedded(address)) for network in self._networks
        ):
            return True
        return port in PORTS and is_public(address)

    def _is_named(self, host: str, port: int) -> bool:
        host = host.rstrip(".").lower()
        address = parse_ip(host)
        name = str(address) if address else host
        if (name, None) in self._hosts or (name, port) in self._hosts:
            return True
        return any(
            host.endswith(suffix) and open_port in (None, port) for suffix, open_port in self._suffixes
        )


def is_public(address: Ip) -> bool:
    """Whether an address is one of the public internet, as are all IPv4 addresses that are wrapped into it."""
    inside = embedded(address)
    if inside:
        # A wrapped address is delivered to the address inside; what wraps it says nothing.
        return all(is_public(one) for one in inside)
    if any(address in network for network in _NOT_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def embedded(address: Ip) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for: mapped, compatible, 6to4, NAT64, Teredo, ISATAP."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address in _TEREDO:
        return list(address.teredo or ())
    if address in _NAT64:
        return [low]
    if int(address) >> 32 == 0 and int(address) > 1:
        return [low]
    if int(address) >> 32 & 0xFCFFFFFF == 0x00005EFE:
        return [low]
    return []


def parse_ip(host: str) -> Ip | None:
    """The address that a host is when it is written as one, with or without brackets and zone; else None."""
    text = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def parse_url(text: str, base: URL | None = None) -> URL:
    """An address as yarl reads it, completed by `base`. Raises ValueError for what is none."""
    try:
        parsed = URL(text)
    except IndexError as error:
        # What yarl raises for an empty host after brackets, like `http://[]@`.
        raise ValueError("the host is empty") from error
    return parsed if base is None else base.join(parsed)


def normalize(url: str, base: str = "") -> str | None:
    """The one way to write an address, so that a page is found once; None when it is not one of the web.

    A relative address is completed by `base`. Scheme and host become lower case, default ports, fragments, sessions and
    parameters that only tell where a visitor came from go, `..` is resolved, escapes are written in one way. The
    order of parameters stays: for some sites it means something. Normalising twice changes nothing.
    """
    text = _UNPRINTABLE.sub(lambda found: "%20" if found[0] == " " else "", url.strip())
    if not text and not base:
        return None
    try:
        parsed = parse_url(text, parse_url(base) if base else None)
        if parsed.scheme not in SCHEMES or not parsed.host:
            return None
        _check_host(parsed)
        parsed = parsed.with_fragment(None).with_user(None)
        if parsed.port == _DEFAULT_PORTS[parsed.scheme]:
            parsed = parsed.with_port(None)
        if (host := parsed.host) and host.endswith(".") and parse_ip(host) is None:
            parsed = parsed.with_host(host.rstrip("."))
        path = _SESSION_IN_PATH.sub("", parsed.raw_path) or "/"
        query = "&".join(
            part
            for part in parsed.raw_query_string.split("&")
            if part and not TRACKING.fullmatch(part.partition("=")[0])
        )
        normal = str(parsed.origin()) + path + (f"?{query}" if query else "")
        # What was taken out may have brought two dots together that mean something now.
        normal = str(parse_url(normal))
    except (ValueError, FetchError):
        return None
    return normal if len(normal) <= MAX_URL_LENGTH else None


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _parse(url: str | URL) -> URL:
    try:
        parsed = url if isinstance(url, URL) else parse_url(_UNPRINTABLE.sub("", url.strip()))
        port = parsed.port
    except ValueError as error:
        raise RefusedAddress(f"'{url}' is not an address: {error}") from error
    if parsed.scheme not in SCHEMES:
        raise RefusedAddress(
            f"'{url}' cannot be fetched: only http and https are",
            hint=f"did you mean https://{str(url).lstrip('/')}?" if not parsed.scheme else None,
        )
    if not parsed.host or not port:
        raise RefusedAddress(f"'{url}' names no host")
    if parsed.user is not None or parsed.password is not None:
        raise RefusedAddress(f"'{parsed.with_user(None)}' comes with a name or password, which is not sent")
    _check_host(parsed)
    return parsed


def _check_host(url: URL) -> None:
    """Raises RefusedAddress for a host that could be understood in two ways."""
    host = (url.raw_host or "").lower()
    if parse_ip(host) is not None:
        if "%" in host:
            raise RefusedAddress(f"'{url}' names an interface of this machine, which is not fetched from")
        return
    labels = host.rstrip(".").split(".")
    # A resolver takes 0x7f.1 and 2130706433 for 127.0.0.1; a host name never ends in a number (WHATWG URL, 3.5).
    if _NUMBER.fullmatch(labels[-1]):
        raise RefusedAddress(
            f"'{url}' has an address in an odd form",
            hint="write it as four decimal numbers, like http://192.0.2.1/",
        )
    if len(host) > 255 or not all(_NAME.fullmatch(label) for label in labels):
        raise RefusedAddress(f"'{url}' does not name a host")


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    else:
        return entry, None
    if not port:
        return host, None
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"'{entry}' has no sensible port")
    return host, int(port)


def _refused(url: URL, address: Ip | None) -> FetchError:
    where = f", at {address}," if address is not None and str(address) != url.host else ""
    return RefusedAddress(
        f"{url.origin()}{where} is not on the public internet and is not fetched", hint=_opening(url)
    )


def _odd_port(url: URL) -> FetchError:
    return RefusedAddress(
        f"{url.origin()} is on port {url.port}, which is not one of the web's", hint=_opening(url)
    )


def _opening(url: URL) -> str:
    """What lets an address be fetched, as one types it."""
    place = url.host_port_subcomponent
    return (
        f'if it is yours, allow it: candide serve --fetch-allowed {place}, or fetch_allowed = ["{place}"] in '
        "settings.toml"
    )


def refuse(url: URL, address: Ip) -> FetchError:
    """Why a name that led to `address` is not fetched."""
    return _odd_port(url) if is_public(address) else _refused(url, address)
