from __future__ import annotations

import asyncio
import email.utils
import gzip
import os
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from candide.errors import FetchError
from candide.ingestion.fetching import Fetched, Fetcher, NotModified, read_retry_after

from .websites import Website


@asynccontextmanager
async def raw_server(answer: Callable[[asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    """A server that writes what it wants once it was asked for something."""

    handlers: list[asyncio.Task[Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.append(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await asyncio.gather(*handlers)


class Names(AbstractResolver):
    """Looks names up in a table, as a name server could answer that somebody else keeps."""

    def __init__(self, **names: list[str] | list[dict[str, str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        self.asked.append(host)
        results: list[Any] = []
        for found in self.names[host.partition(".")[0]]:
            result: Any = found if isinstance(found, dict) else {"host": found}
            result.update(hostname=host, port=port, proto=0, flags=0)
            result["family"] = socket.AF_INET6 if ":" in result["host"] else socket.AF_INET
            results.append(result)
        return results

    async def close(self) -> None:
        pass


async def test_a_page_is_fetched_with_what_the_server_says_of_it(website: Website, fetcher: Fetcher) -> None:
    website.pages["/a"] = web.Response(
        body="é".encode("latin-1"),
        headers={
            "Content-Type": "Text/HTML; charset=ISO-8859-1",
            "ETag": '"v1"',
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "X-Robots-Tag": "NoIndex",
        },
    )
    assert await fetcher.fetch(f"{website.address}/a#part") == Fetched(
        url=f"{website.address}/a",
        content=b"\xe9",
        media_type="text/html",
        charset="iso-8859-1",
        etag='"v1"',
        last_modified="Thu, 01 Jan 2026 00:00:00 GMT",
        robots_tag="noindex",
    )


async def test_a_request_says_who_asks_and_brings_nothing_else_along(
    website: Website, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")

    async def set_cookie(request: web.Request) -> web.Response:
        return web.Response(text="x", headers={"Set-Cookie": "seen=1; Path=/"})

    website.pages["/"] = set_cookie
    fetcher = Fetcher(allowed=["127.0.0.1"], user_agent="Candide/9")
    try:
        await fetcher.fetch(f"{website.address}/")
        await fetcher.fetch(f"{website.address}/")
    finally:
        await fetcher.close()
    for request in website.requests:
        assert request.headers["User-Agent"] == "Candide/9"
        assert not {"Cookie", "Authorization", "Referer", "Proxy-Authorization"} & set(request.headers)
    assert len(website.requests) == 2


async def test_what_has_not_changed_is_not_fetched_again(website: Website, fetcher: Fetcher) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304, headers={"ETag": '"v1"'})
        return web.Response(text="new", headers={"ETag": '"v2"'})

    website.pages["/"] = answer
    url = f"{website.address}/"
    assert await fetcher.fetch(url, etag='"v1"') == NotModified(url=url, etag='"v1"')
    changed = await fetcher.fetch(url, etag='"v0"', last_modified="Thu, 01 Jan 2026 00:00:00 GMT")
    assert isinstance(changed, Fetched)
    assert changed.content == b"new"
    assert website.requests[-1].headers["If-Modified-Since"] == "Thu, 01 Jan 2026 00:00:00 GMT"


async def test_not_modified_without_having_asked_is_an_error(website: Website, fetcher: Fetcher) -> None:
    website.pages["/"] = web.Response(status=304)
    with pytest.raises(FetchError) as failed:
        await fetcher.fetch(f"{website.address}/")
    assert failed.value.answered == 304


@pytest.mark.parametrize(
    ("status", "is_gone", "is_passing"),
    [
        (404, True, False),
        (410, True, False),
        (403, False, False),
        (500, False, True),
        (503, False, True),
        (429, False, True),
    ],
)
async def test_a_refusal_says_whether_it_may_pass(
    website: Website, fetcher: Fetcher, status: int, is_gone: bool, is_passing: bool
) -> None:
    website.pages["/"] = web.Response(status=status, headers={"Retry-After": "120"})
    with pytest.raises(FetchError) as failed:
        await fetcher.fetch(f"{website.address}/")
    error = failed.value
    assert (error.answered, error.is_gone, error.is_passing) == (status, is_gone, is_passing)
    assert error.retry_after == 120
    assert str(status) in error.message


async def test_a_server_that_is_not_there_may_come_back(fetcher: Fetcher) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError) as failed:
            await fetcher.fetch(f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert failed.value.is_passing
    assert failed.value.answered is None


# --- redirects ---


async def test_redirects_are_followed_to_the_end(website: Website, fetcher: Fetcher) -> None:
    website.pages["/a"] = web.Response(status=301, headers={"Location": "b?x=1#y"})
    website.pages["/b?x=1"] = web.Response(status=307, headers={"Location": f"{website.address}/c"})
    website.put("/c", "here")
    fetched = await fetcher.fetch(f"{website.address}/a")
    assert fetched.url == f"{website.address}/c"


async def test_redirects_end(website: Website, fetcher: Fetcher) -> None:
    website.pages["/"] = web.Response(status=302, headers={"Location": "/"})
    with pytest.raises(FetchError, match="too often"):
        await fetcher.fetch(f"{website.address}/")
    assert len(website.requests) == 6


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "http://localhost:{port}/",
        "http://0x7f.1:{port}/",
        "http://[::ffff:127.0.0.1]:80/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://example.com:22/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "//user:secret@127.0.0.1:{port}/",
        "http://[]@/",
        "",
    ],
)
async def test_a_redirect_leads_nowhere_that_is_closed(
    website: Website, fetcher: Fetcher, location: str
) -> None:
    website.pages["/"] = web.Response(status=302, headers={"Location": location.format(port=website.port)})
    fetcher = Fetcher(allowed=[f"127.0.0.1:{website.port}"], timeout_s=10)
    try:
        with pytest.raises(FetchError) as failed:
            await fetcher.fetch(f"{website.address}/")
    finally:
        await fetcher.close()
    assert not failed.value.is_passing
    assert website.asked == ["/"]


# --- where a name leads ---


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "100.100.100.200",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
    ],
)
async def test_a_public_name_that_leads_inside_is_refused(address: str) -> None:
    fetcher = Fetcher(resolver=Names(evil=[address]), timeout_s=10)
    try:
        with pytest.raises(FetchError, match="not on the public internet"):
            await fetcher.fetch("http://evil.example:8080/")
    finally:
        await fetcher.close()


async def test_a_name_that_was_opened_may_lead_inside(website: Website) -> None:
    names = Names(wiki=["127.0.0.1"], evil=["127.0.0.1"])
    website.put("/", "inside")
    fetcher = Fetcher(allowed=[f"wiki.example:{website.port}"], resolver=names, timeout_s=10)
    try:
        fetched = await fetcher.fetch(f"http://wiki.example:{website.port}/")
        assert fetched.content == b"inside"
        # That its address was opened for it opens the address to no other name.
        for url in (f"http://evil.example:{website.port}/", "http://evil.example:8080/"):
            with pytest.raises(FetchError):
                await fetcher.fetch(url)
    finally:
        await fetcher.close()
    assert len(website.requests) == 1


async def test_a_name_that_leads_elsewhere_the_second_time_is_refused(website: Website) -> None:
    names = Names(wiki=["127.0.0.1"])
    website.put("/", "inside")
    fetcher = Fetcher(allowed=["127.0.0.1/32"], resolver=names, timeout_s=10)
    try:
        website.pages["/"] = web.Response(text="x", headers={"Connection": "close"})
        await fetcher.fetch(f"http://wiki.example:{website.port}/")
        names.names["wiki"] = ["127.0.0.2"]
        with pytest.raises(FetchError, match=r"127\.0\.0\.2"):
            await fetcher.fetch(f"http://wiki.example:{website.port}/")
    finally:
        await fetcher.close()


class Turncoat(dict[str, Any]):
    """An answer that is public when it is checked, and this machine when it is connected to."""

    def __init__(self) -> None:
        super().__init__(host="1.1.1.1")
        self.looks = 0

    def __getitem__(self, key: str) -> Any:
        if key == "host":
            self.looks += 1
            return "1.1.1.1" if self.looks <= 2 else "127.0.0.1"
        return super().__getitem__(key)


async def test_what_is_connected_to_is_checked_too() -> None:
    turncoat = Turncoat()
    fetcher = Fetcher(resolver=Names(evil=[turncoat]), timeout_s=10)
    try:
        with pytest.raises(FetchError, match=r"127\.0\.0\.1 is not on the public internet"):
            await fetcher.fetch("http://evil.example:8080/")
    finally:
        await fetcher.close()
    assert turncoat.looks > 2


async def test_the_name_of_this_machine_is_refused() -> None:
    fetcher = Fetcher(timeout_s=10)
    try:
        for host in ("localhost", socket.gethostname()):
            with pytest.raises(FetchError):
                await fetcher.fetch(f"http://{host}:8080/")
    finally:
        await fetcher.close()


async def test_a_name_without_an_address_is_said_so() -> None:
    fetcher = Fetcher(timeout_s=10)
    try:
        with pytest.raises(FetchError, match="has no address") as failed:
            await fetcher.fetch("http://no-such-host.invalid/")
    finally:
        await fetcher.close()
    assert failed.value.hint


async def test_a_proxy_is_used_when_it_is_given(website: Website) -> None:
    website.pages["http://example.com/"] = web.Response(text="through the proxy")

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"proxied {request.headers['Host']}")

    website.pages["/page"] = answer
    names = Names(example=["93.184.216.34"], inside=["10.0.0.1"], proxy=["127.0.0.1"])
    fetcher = Fetcher(proxy=f"http://proxy.example:{website.port}", resolver=names, timeout_s=10)
    try:
        fetched = await fetcher.fetch("http://example.com/page")
        assert fetched.content == b"proxied example.com"
        with pytest.raises(FetchError, match="not on the public internet"):
            await fetcher.fetch("http://inside.example/page")
        with pytest.raises(FetchError, match="not on the public internet"):
            await fetcher.fetch("http://127.0.0.1/page")
    finally:
        await fetcher.close()
    assert len(website.requests) == 1


# --- limits ---


async def test_a_body_that_is_too_large_is_not_read(website: Website, fetcher: Fetcher) -> None:
    website.put("/", b"x" * 5_000)
    with pytest.raises(FetchError, match="larger than"):
        await fetcher.fetch(f"{website.address}/", max_bytes=4_999)
    whole = await fetcher.fetch(f"{website.address}/", max_bytes=5_000)
    assert (len(whole.content), whole.is_cut) == (5_000, False)
    cut = await fetcher.fetch(f"{website.address}/", max_bytes=4_999, cut=True)
    assert (len(cut.content), cut.is_cut) == (4_999, True)


async def test_an_endless_body_ends(fetcher: Fetcher) -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()

    async with raw_server(flood) as url:
        with pytest.raises(FetchError, match="larger than 1024 KiB"):
            await fetcher.fetch(url, max_bytes=1 << 20)
    assert sent < 64 << 20


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate", "identity", "GZIP"])
async def test_a_packed_body_is_unpacked(website: Website, fetcher: Fetcher, encoding: str) -> None:
    content = os.urandom(100) * 5_000
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(content),
        "deflate": zlib.compress(content),
        "raw deflate": raw.compress(content) + raw.flush(),
        "identity": content,
    }[encoding.lower()]
    website.pages["/"] = web.Response(body=packed, headers={"Content-Encoding": encoding.rpartition(" ")[2]})
    assert (await fetcher.fetch(f"{website.address}/")).content == content


async def test_a_bomb_is_not_unpacked(website: Website, fetcher: Fetcher) -> None:
    website.pages["/"] = web.Response(
        body=gzip.compress(bytes(200 << 20), 1), headers={"Content-Encoding": "gzip"}
    )
    with pytest.raises(FetchError, match="larger than 1024 KiB"):
        await fetcher.fetch(f"{website.address}/", max_bytes=1 << 20)


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"not gzip at all", "gzip", "cannot be undone"),
        (gzip.compress(os.urandom(5_000))[:2_000], "gzip", "broke off"),
        (b"x", "br", "not asked for"),
        (b"x", "gzip, gzip", "not asked for"),
    ],
)
async def test_a_body_that_is_packed_badly_is_said_so(
    website: Website, fetcher: Fetcher, body: bytes, encoding: str, reason: str
) -> None:
    website.pages["/"] = web.Response(body=body, headers={"Content-Encoding": encoding})
    with pytest.raises(FetchError, match=reason):
        await fetcher.fetch(f"{website.address}/")


async def test_what_comes_a_byte_at_a_time_comes_to_an_end() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def drip_headers(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    fetcher = Fetcher(allowed=["127.0.0.1"], timeout_s=0.5)
    try:
        for answer in (drip, drip_headers):
            async with raw_server(answer) as url:
                with pytest.raises(FetchError, match="took too long") as failed:
                    await fetcher.fetch(url)
                assert failed.value.is_passing
    finally:
        await fetcher.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        b"HTTP/1.1 200 " + b"O" * 1_000_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00" * 100,
        b"",
    ],
)
async def test_what_is_no_http_is_an_error(fetcher: Fetcher, head: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)

    async with raw_server(answer) as url:
        with pytest.raises(FetchError):
            await fetcher.fetch(url)


async def test_what_is_of_a_kind_that_is_not_wanted_is_not_read(website: Website, fetcher: Fetcher) -> None:
    website.put("/", b"x" * 1_000, "video/mp4")
    kinds: list[str] = []
    with pytest.raises(FetchError, match="video/mp4"):
        await fetcher.fetch(f"{website.address}/", wanted=lambda kind: bool(kinds.append(kind)))
    assert kinds == ["video/mp4"]


async def test_a_fetcher_serves_again_after_each_failure(website: Website, fetcher: Fetcher) -> None:
    website.put("/good", "good")
    website.put("/large", b"x" * 10_000)
    for _ in range(10):
        with pytest.raises(FetchError):
            await fetcher.fetch(f"{website.address}/large", max_bytes=10)
        with pytest.raises(FetchError):
            await fetcher.fetch(f"{website.address}/gone")
    fetched = await asyncio.gather(*(fetcher.fetch(f"{website.address}/good") for _ in range(50)))
    assert {one.content for one in fetched} == {b"good"}


# --- Retry-After ---


def test_a_date_to_come_back_at_is_seconds_from_now() -> None:
    seconds = read_retry_after(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert seconds is not None
    assert 90 < seconds <= 100
    assert read_retry_after(email.utils.formatdate(0, usegmt=True)) == 0


@given(st.one_of(st.none(), st.text(max_size=30), st.integers().map(str)))
def test_a_time_to_come_back_at_is_sensible_or_none(value: str | None) -> None:
    seconds = read_retry_after(value)
    assert seconds is None or 0 <= seconds <= 86_400
