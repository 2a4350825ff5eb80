"""Fetching: one address of the web to bytes, or to a `FetchError` that says why not.

It promises that a request goes to no address that `addresses.Policy` does not permit, however it was led there: each
redirect is followed by hand and checked, a name is looked up once for the connection that is made, and the socket is
opened to nothing else than what was checked. It promises an end too: the whole has a time limit, and body, headers and
redirects a length, the body also when it is unpacked. It keeps no cookies, sends no password, and uses no proxy that
it was not given. It does not retry, and it does not know robots.txt.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
import zlib
from collections.abc import Callable, Sequence
from socket import AF_INET, AddressFamily, socket
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from candide import __version__
from candide.errors import FetchError
from candide.ingestion.addresses import Policy, is_public, parse_ip, parse_url, refuse

USER_AGENT = f"Candide/{__version__}"
MAX_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 90.0
"""For one fetch with all its redirects."""

CONNECT_TIMEOUT_S = 15.0
IDLE_TIMEOUT_S = 20.0
"""As long may nothing come."""

MAX_REDIRECTS = 5
MAX_HEADER_BYTES = 32 * 1024
"""Of one header."""

MAX_HEADERS = 128
LONGEST_RETRY_S = 86_400.0

_ACCEPT = "text/html, application/xhtml+xml, application/xml;q=0.9, application/pdf;q=0.9, */*;q=0.8"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Fetched(msgspec.Struct, kw_only=True, frozen=True):
    """What a server gave."""

    url: str
    """The address after all redirects."""
    content: bytes
    media_type: str = ""
    """As the server says, in small letters; empty when it does not."""
    charset: str = ""
    etag: str | None = None
    last_modified: str | None = None
    status: int = 200
    robots_tag: str = ""
    """The header X-Robots-Tag, in small letters: what the server asks of those who keep the page."""
    is_cut: bool = False
    """Whether it is only the beginning of what there is; see `cut` of `Fetcher.fetch`."""


class NotModified(msgspec.Struct, kw_only=True, frozen=True):
    """The server says that what was fetched before still holds."""

    url: str
    etag: str | None = None
    last_modified: str | None = None


class Fetcher:
    """Fetches, with one pool of connections; `close` it when done.

    `allowed` opens hosts, host:port and networks beside the public internet (see `Policy`). `max_bytes` is the
    most that a body may have, unpacked; `timeout_s` is for one fetch with its redirects. `proxy` is the address of an
    HTTP proxy that everything goes through; none is taken from the environment, because a proxy looks names up itself
    and so decides where a request goes. `resolver` looks names up, the system's when absent.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[str] = (),
        user_agent: str = USER_AGENT,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = TIMEOUT_S,
        proxy: str | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.policy = Policy(allowed)
        self.user_agent = user_agent
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._proxy = URL(proxy) if proxy else None
        self._lookup = resolver
        self._resolver: _CheckedResolver | None = None
        self._session: aiohttp.ClientSession | None = None

    async def fetch(
        self,
        url: str,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        max_bytes: int | None = None,
        wanted: Callable[[str], bool] | None = None,
        cut: bool = False,
    ) -> Fetched | NotModified:
        """GET an address; NotModified only where `etag` or `last_modified` of the time before are given.

        `wanted` is asked with the media type before the body is read. A body of more than `max_bytes` is an error,
        or with `cut` ends there. Raises FetchError, with `answered` for every status that is not 2xx.
        """
        conditions: dict[str, str] = {}
        if etag:
            conditions["If-None-Match"] = etag
        if last_modified:
            conditions["If-Modified-Since"] = last_modified
        limit = self._max_bytes if max_bytes is None else min(max_bytes, self._max_bytes)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, conditions, limit, wanted, cut)
        except TimeoutError as error:
            raise FetchError(f"{url} took too long", is_passing=True) from error
        except aiohttp.ClientError as error:
            raise _explain(url, error) from error
        except OSError as error:
            raise FetchError(
                f"{url} cannot be reached: {error.strerror or error}", is_passing=True
            ) from error
        except ValueError as error:
            # aiohttp and yarl raise it for addresses that they cannot make sense of.
            raise FetchError(f"{url} cannot be fetched: {error}") from error

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
        if self._resolver is not None:
            resolver, self._resolver = self._resolver, None
            await resolver.close()

    async def _follow(
        self,
        address: str | URL,
        conditions: dict[str, str],
        limit: int,
        wanted: Callable[[str], bool] | None,
        cut: bool,
    ) -> Fetched | NotModified:
        for _ in range(MAX_REDIRECTS + 1):
            url = self.policy.check_url(address).with_fragment(None)
            response = await self._get(url, conditions)
            try:
                if response.status not in _REDIRECTS:
                    return await _read(response, url, bool(conditions), limit, wanted, cut)
                location = response.headers.get("Location", "")
            finally:
                # One that was read to its end has given its connection back by now.
                response.close()
            if not location:
                raise FetchError(f"{url} redirects to nowhere", answered=response.status)
            try:
                address = parse_url(location, url)
            except ValueError as error:
                raise FetchError(
                    f"{url} redirects to what is no address", answered=response.status
                ) from error
        raise FetchError(
            f"{address} redirects too often", answered=302, hint=f"{MAX_REDIRECTS} redirects are followed"
        )

    async def _get(self, url: URL, conditions: dict[str, str]) -> aiohttp.ClientResponse:
        if self._session is None or self._resolver is None:
            self._resolver = _CheckedResolver(self.policy, self._lookup or aiohttp.ThreadedResolver())
            self._session = self._open_session(self._resolver)
        address = parse_ip(url.host or "")
        if self._proxy is not None:
            await self._check_for_proxy(url)
        elif address is not None:
            self._resolver.opened.add(str(address))
        return await self._session.get(url, headers=conditions, allow_redirects=False, proxy=self._proxy)

    def _open_session(self, resolver: _CheckedResolver) -> aiohttp.ClientSession:
        if self._proxy is not None:
            resolver.trust(self._proxy)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=32,
                limit_per_host=4,
                resolver=resolver,
                use_dns_cache=False,
                socket_factory=resolver.open_socket,
            ),
            headers={
                "User-Agent": self.user_agent,
                "Accept": _ACCEPT,
                "Accept-Encoding": "gzip, deflate",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=IDLE_TIMEOUT_S
            ),
            # A megabyte of gzip may be a gigabyte: it is unpacked here, in steps that are counted.
            auto_decompress=False,
            trust_env=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )

    async def _check_for_proxy(self, url: URL) -> None:
        """The proxy will look the name up; what this machine makes of it is checked, where it can tell at all."""
        assert self._resolver is not None
        if parse_ip(url.host or "") is None:
            try:
                await self._resolver.resolve(url.raw_host or "", url.port or 0, AddressFamily(0))
            except OSError:
                return


class _CheckedResolver(AbstractResolver):
    """Looks names up for connections, and lets through only what the policy permits for that name and port."""

    def __init__(self, policy: Policy, lookup: AbstractResolver) -> None:
        self._policy = policy
        self._lookup = lookup
        self._trusted: tuple[str, int] | None = None
        self.opened: set[str] = set()
        """Addresses that were permitted though they are not public."""

    def trust(self, proxy: URL) -> None:
        self._trusted = (proxy.raw_host or "", proxy.port or 0)
        if parse_ip(proxy.host or "") is not None:
            self.opened.add(str(parse_ip(proxy.host or "")))

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        found = await self._lookup.resolve(host, port, family)
        permitted: list[ResolveResult] = []
        refused = None
        for result in found:
            address = parse_ip(result["host"])
            if address is None:
                continue
            if (host, port) == self._trusted or self._policy.permits(host, port, address):
                permitted.append(result)
                if not is_public(address):
                    self.opened.add(str(address))
            else:
                refused = address
        if not permitted:
            if refused is None:
                raise OSError(None, f"'{host}' has no address")
            raise refuse(URL.build(scheme="http", host=host, port=port), refused)
        return permitted

    def open_socket(self, info: Any) -> socket:
        """A socket for the address that is about to be connected to: the last look, and at nothing but the number."""
        family, kind, protocol, _, address = info
        found = parse_ip(address[0])
        if found is None or not (is_public(found) or str(found) in self.opened):
            raise PermissionError(f"{address[0]} is not on the public internet")
        return socket(family, kind, protocol)

    async def close(self) -> None:
        await self._lookup.close()


async def _read(
    response: aiohttp.ClientResponse,
    url: URL,
    is_conditional: bool,
    limit: int,
    wanted: Callable[[str], bool] | None,
    cut: bool,
) -> Fetched | NotModified:
    headers = response.headers
    if response.status == 304 and is_conditional:
        return NotModified(url=str(url), etag=headers.get("ETag"), last_modified=headers.get("Last-Modified"))
    if not 200 <= response.status < 300:
        raise FetchError(
            f"{url} answers {response.status} {response.reason or ''}".rstrip(),
            is_passing=response.status in _PASSING,
            retry_after=read_retry_after(headers.get("Retry-After")),
            answered=response.status,
        )
    media_type = response.content_type.lower() if "Content-Type" in headers else ""
    if wanted is not None and not wanted(media_type):
        raise FetchError(
            f"{url} is {media_type or 'of no kind'}, which is not read", answered=response.status
        )
    content, is_cut = await _read_body(response, url, limit, cut)
    return Fetched(
        url=str(url),
        content=content,
        media_type=media_type,
        charset=(response.charset or "").lower(),
        etag=headers.get("ETag"),
        last_modified=headers.get("Last-Modified"),
        status=response.status,
        robots_tag=", ".join(headers.getall("X-Robots-Tag", [])).lower(),
        is_cut=is_cut,
    )


async def _read_body(response: aiohttp.ClientResponse, url: URL, limit: int, cut: bool) -> tuple[bytes, bool]:
    """The body, unpacked, and whether it goes on after that."""
    unpacker = _Unpacker(response.headers.get("Content-Encoding", ""), url)
    too_large = FetchError(f"{url} is larger than {limit // 1024} KiB", answered=response.status)
    if (response.content_length or 0) > limit and not cut:
        raise too_large
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += unpacker.feed(chunk, limit + 1 - len(body))
        if len(body) > limit:
            if not cut:
                raise too_large
            return bytes(body[:limit]), True
    if not unpacker.is_whole and not cut:
        raise FetchError(f"{url} broke off", is_passing=True, answered=response.status)
    return bytes(body), False


class _Unpacker:
    """Undoes Content-Encoding, never giving more than is asked for."""

    def __init__(self, encoding: str, url: URL) -> None:
        self._url = url
        self._encoding = encoding.strip().lower()
        self._zlib: Any = None
        self._seen = False
        if self._encoding in ("", "identity"):
            return
        if self._encoding not in ("gzip", "x-gzip", "deflate"):
            raise FetchError(f"{url} comes packed as '{encoding}', which was not asked for")
        self._zlib = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)

    @property
    def is_whole(self) -> bool:
        return self._zlib is None or not self._seen or self._zlib.eof

    def feed(self, data: bytes, most: int) -> bytes:
        if self._zlib is None:
            return data[:most]
        if not self._seen and data:
            if self._encoding == "deflate" and data[0] & 0x0F != 8:
                # Some servers leave the wrapper of zlib out (RFC 9110, 8.4.1.2).
                self._zlib = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
            self._seen = True
        try:
            return self._zlib.decompress(data, most)
        except zlib.error as error:
            raise FetchError(f"{self._url} is packed in a way that cannot be undone: {error}") from error


def read_retry_after(value: str | None) -> float | None:
    """Seconds from now that a Retry-After header asks to wait (RFC 9110, 10.2.3), a day at most."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_S) if len(value) < 12 else LONGEST_RETRY_S
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return min(max(date.timestamp() - time.time(), 0.0), LONGEST_RETRY_S)


def _explain(url: str, error: aiohttp.ClientError) -> FetchError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return FetchError(f"{url} shows a certificate that is not trusted: {error.certificate_error}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FetchError(
            f"{url} has no address: {error.os_error.strerror or error}",
            hint="check how the name is written, and the network",
            is_passing=True,
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error
        if isinstance(reason, PermissionError) and reason.errno is None:
            return FetchError(f"{url} is not fetched: {reason}")
        if isinstance(reason, ssl.SSLError):
            return FetchError(f"{url} speaks no TLS that is understood: {reason.reason}")
        return FetchError(f"{url} cannot be reached: {reason.strerror or reason}", is_passing=True)
    if isinstance(error, aiohttp.InvalidURL):
        return FetchError(f"'{url}' is not an address")
    if isinstance(error, aiohttp.ClientResponseError):
        return FetchError(f"{url} answers with what is not HTTP: {error.message or error}")
    return FetchError(f"{url} broke off: {error or type(error).__name__}", is_passing=True)
