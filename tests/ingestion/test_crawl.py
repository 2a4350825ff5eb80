from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from candide.domain.jobs import Item
from candide.domain.sources import TargetOptions
from candide.errors import FetchError
from candide.ingestion.crawl import Crawler, Page, Skipped, parse_html
from candide.ingestion.fetching import Fetcher, NotModified
from candide.ingestion.robots import Robots

from .websites import Website


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(allowed=["127.0.0.1", "localhost"], timeout_s=20)
    yield fetcher
    await fetcher.close()


def crawl(website: Website, fetcher: Fetcher, start: str = "/", **options: object) -> Crawler:
    return Crawler(fetcher, Robots(fetcher), website.address + start, TargetOptions(**options), delay_s=0)


async def go_through(crawler: Crawler, limit: int = 1_000) -> dict[str, Page | Skipped | FetchError]:
    """All that a site has, as a job would find it: by path."""
    frontier = {crawler.start: Item(crawler.start, "t", 0)}
    found: dict[str, Page | Skipped | FetchError] = {}
    while frontier and len(found) < limit:
        item = frontier.pop(min(frontier, key=lambda key: frontier[key].depth))
        try:
            page = await crawler.read_page(item.key)
        except FetchError as error:
            page = error
        assert not isinstance(page, NotModified)
        found[item.key] = page
        if isinstance(page, Page):
            for new in crawler.items_of(page, item):
                if new.key not in found:
                    frontier.setdefault(new.key, new)
    origin = crawler.start.split("/")[2]
    return {url.partition(origin)[2]: page for url, page in found.items()}


async def test_a_site_is_gone_through_by_its_links(website: Website, fetcher: Fetcher) -> None:
    website.put("/docs/", '<a href="a.html">A</a> <a href="/docs/b/">B</a> <a href="../out.html">out</a>')
    website.put(
        "/docs/a.html",
        '<a href="/docs/?utm_source=a#top">up</a> <area href=c.pdf> <a href="//other.example/">x</a>',
    )
    website.put(
        "/docs/b/", '<base href="/docs/deep/"><a href="d.html">D</a> <iframe src="/docs/framed"></iframe>'
    )
    website.put("/docs/c.pdf", b"%PDF-1.7", "application/pdf")
    website.put("/docs/framed", "framed")
    found = await go_through(crawl(website, fetcher, "/docs/"))
    assert sorted(found) == [
        "/docs/",
        "/docs/a.html",
        "/docs/b/",
        "/docs/c.pdf",
        "/docs/deep/d.html",
        "/docs/framed",
    ]
    gone = found["/docs/deep/d.html"]
    assert isinstance(gone, FetchError)
    assert gone.is_gone
    pdf = found["/docs/c.pdf"]
    assert isinstance(pdf, Page)
    assert (pdf.fetched.media_type, pdf.links) == ("application/pdf", [])
    assert website.asked.count("/docs/a.html") == 1
    assert website.asked.count("/robots.txt") == 1


async def test_no_further_is_gone_than_the_depth(website: Website, fetcher: Fetcher) -> None:
    for number in range(10):
        website.put(f"/{number}", f'<a href="/{number + 1}">next</a>')
    assert list(await go_through(crawl(website, fetcher, "/0", depth=3))) == ["/0", "/1", "/2", "/3"]
    assert list(await go_through(crawl(website, fetcher, "/0", depth=0))) == ["/0"]


async def test_a_site_without_end_ends(website: Website, fetcher: Fetcher) -> None:
    async def calendar(request: web.Request) -> web.Response:
        month = int(request.query.get("month", "0"))
        links = "".join(f'<a href="/?month={month + step}">x</a>' for step in (-1, 1, 12))
        return web.Response(
            text=f'{links}<a href="{request.path}deeper/deeper/">y</a>', content_type="text/html"
        )

    class Endless(dict[str, object]):
        def get(self, key: object, default: object = None) -> object:
            return default if key == "/robots.txt" else calendar

    website.pages = Endless()  # type: ignore[assignment]
    found = await go_through(crawl(website, fetcher, depth=3))
    assert len(found) < 60
    assert max(path.count("deeper") for path in found) <= 3
    assert len(await go_through(crawl(website, fetcher), limit=50)) == 50


async def test_a_site_with_endless_filters_is_not_gone_through_by_all_of_them(
    website: Website, fetcher: Fetcher
) -> None:
    links = "".join(f'<a href="/list?page={number}">x</a>' for number in range(3_000))
    website.put(
        "/", links + '<a href="/other">o</a><a href="/x?' + "&".join(f"f{n}=1" for n in range(9)) + '">x</a>'
    )
    page = await crawl(website, fetcher).read_page(f"{website.address}/")
    assert isinstance(page, Page)
    assert len(page.links) == 1_001
    assert page.links[-1].endswith("/other")


async def test_what_cannot_be_read_is_not_fetched(website: Website, fetcher: Fetcher) -> None:
    website.put(
        "/",
        '<a href=a.jpg>1</a><a href="b.ZIP">2</a><a href=c.css>3</a><a href=d>4</a><a href="mailto:x">5</a>',
    )
    website.put("/d", b"\x00" * 100, "image/png")
    found = await go_through(crawl(website, fetcher))
    assert sorted(found) == ["/", "/d"]
    skipped = found["/d"]
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "image/png is not read"


async def test_a_page_that_is_too_large_is_a_failure_and_not_skipped(website: Website) -> None:
    website.put("/", "x" * 2_000)
    fetcher = Fetcher(allowed=["127.0.0.1"], max_bytes=1_000)
    with pytest.raises(FetchError, match="larger than"):
        await crawl(website, fetcher).read_page(f"{website.address}/")
    await fetcher.close()


# --- what the site asks ---


async def test_robots_txt_is_kept_to(website: Website, fetcher: Fetcher) -> None:
    website.put("/robots.txt", "User-agent: *\nDisallow: /no\n", "text/plain")
    website.put("/", '<a href="/no/a">1</a><a href="/yes">2</a><a href="/sly">3</a>')
    website.put("/yes", "yes")
    website.put("/no/a", "no")
    website.pages["/sly"] = web.Response(status=302, headers={"Location": "/no/a"})
    found = await go_through(crawl(website, fetcher))
    assert isinstance(found["/no/a"], Skipped)
    assert isinstance(found["/sly"], Skipped)
    assert isinstance(found["/yes"], Page)


async def test_a_site_whose_robots_txt_cannot_be_had_is_tried_again_later(
    website: Website, fetcher: Fetcher
) -> None:
    website.pages["/robots.txt"] = web.Response(status=503)
    website.put("/", "x")
    with pytest.raises(FetchError) as failed:
        await crawl(website, fetcher).read_page(f"{website.address}/")
    assert failed.value.is_passing
    assert website.asked == ["/robots.txt"]


@pytest.mark.parametrize(
    ("head", "tag", "is_wanted", "follows"),
    [
        ('<meta name="robots" content="noindex">', "", False, True),
        ('<meta name="ROBOTS" content="NOFOLLOW, noarchive">', "", True, False),
        ('<meta name="candide" content="none">', "", False, False),
        ('<meta name="googlebot" content="none">', "", True, True),
        ("", "noindex, nofollow", False, False),
        ("", "otherbot: noindex", False, True),
        ("", "max-snippet:-1", True, True),
    ],
)
async def test_a_page_may_ask_not_to_be_kept_or_followed(
    website: Website, fetcher: Fetcher, head: str, tag: str, is_wanted: bool, follows: bool
) -> None:
    website.pages["/"] = web.Response(
        text=f'{head}<a href="/a">a</a><a rel="NoFollow external" href="/b">b</a>',
        headers={"X-Robots-Tag": tag, "Content-Type": "text/html"},
    )
    page = await crawl(website, fetcher).read_page(f"{website.address}/")
    assert isinstance(page, Page)
    assert page.is_wanted == is_wanted
    assert page.links == ([f"{website.address}/a"] if follows else [])


async def test_a_host_is_not_asked_more_often_than_it_wants(website: Website, fetcher: Fetcher) -> None:
    website.put("/robots.txt", "User-agent: *\nCrawl-delay: 0.2\n", "text/plain")
    for path in "abcd":
        website.put(f"/{path}", "x")
    crawler = crawl(website, fetcher)
    began = time.monotonic()
    await asyncio.gather(*(crawler.read_page(f"{website.address}/{path}") for path in "abcd"))
    # Three pauses lie between four pages, whoever asks for them; sleeping is never shorter than it was meant.
    assert time.monotonic() - began > 0.55
    assert len(website.asked) == 5


# --- which page it is ---


@pytest.mark.parametrize(
    ("path", "canonical", "own"),
    [
        ("/a?ref=x", "/a", "/a"),
        ("/a", "https://elsewhere.example/a", "/a"),
        ("/a/b", "/", "/a/b"),
        ("/?x=1", "/", "/"),
        ("/a", "javascript:x", "/a"),
        ("/a", "", "/a"),
    ],
)
async def test_a_page_is_known_by_the_address_that_it_says_is_its_own(
    website: Website, fetcher: Fetcher, path: str, canonical: str, own: str
) -> None:
    website.put(path, f'<link rel="canonical" href="{canonical}">')
    page = await crawl(website, fetcher).read_page(website.address + path)
    assert isinstance(page, Page)
    assert page.url == website.address + own


async def test_what_leads_out_of_the_site_is_none_of_its_pages(website: Website, fetcher: Fetcher) -> None:
    website.put("/docs/", '<a href="/docs/a">a</a>')
    website.pages["/docs/a"] = web.Response(status=302, headers={"Location": "/login"})
    website.put("/login", "please")
    skipped = (await go_through(crawl(website, fetcher, "/docs/")))["/docs/a"]
    assert isinstance(skipped, Skipped)
    assert "leads out of the site" in skipped.reason


async def test_a_site_that_has_moved_is_meant_where_it_is_now(website: Website, fetcher: Fetcher) -> None:
    moved = f"http://localhost:{website.port}/fr/"
    website.pages["/"] = web.Response(status=301, headers={"Location": moved})
    website.put("/fr/", '<a href="a">a</a><a href="/en/">en</a>')
    crawler = crawl(website, fetcher)
    page = await crawler.read_page(crawler.start)
    assert isinstance(page, Page)
    assert (page.url, page.links) == (moved, [moved + "a"])
    assert crawler.scope == moved


async def test_a_folder_without_its_slash_is_a_folder(website: Website, fetcher: Fetcher) -> None:
    website.pages["/docs"] = web.Response(status=301, headers={"Location": "/docs/"})
    website.put("/docs/", '<a href="a">a</a><a href="/blog/">b</a>')
    crawler = crawl(website, fetcher, "/docs")
    page = await crawler.read_page(crawler.start)
    assert isinstance(page, Page)
    assert page.links == [f"{website.address}/docs/a"]


def test_a_scope_is_what_addresses_begin_with() -> None:
    fetcher = Fetcher()
    robots = Robots(fetcher)
    crawler = Crawler(fetcher, robots, "https://www.example.com/docs/intro.html")
    assert crawler.covers("http://example.com/docs/x?y")
    assert not crawler.covers("https://www.example.com/blog/")
    assert not crawler.covers("https://www.example.com.evil.example/docs/")
    assert not crawler.covers("https://example.com:8443/docs/")
    scoped = Crawler(fetcher, robots, "https://example.com/", TargetOptions(scope="https://example.com/a"))
    assert scoped.covers("https://example.com/abc")
    assert not scoped.covers("https://example.com/b")
    assert Crawler(fetcher, robots, "https://example.com/x", TargetOptions(scope="/y/")).covers(
        "https://example.com/y/z"
    )


async def test_what_has_not_changed_is_not_read_again(website: Website, fetcher: Fetcher) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(
            status=304 if "If-None-Match" in request.headers else 200, headers={"ETag": '"1"'}
        )

    website.pages["/"] = answer
    assert isinstance(await crawl(website, fetcher).read_page(f"{website.address}/", etag='"1"'), NotModified)


# --- whatever pages consist of ---


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"\x00\x00\x00",
        b"<!--" * 50_000,
        b"<a " * 50_000,
        b"<div>" * 100_000 + b'<a href="/x">',
        b"<a href='/x" + b"'" * 10_000,
        b"\xff\xfe<\x00a\x00>\x00",
        b"<?xml version='1.0' encoding='utf-99'?><a href='/x'>x</a>",
        b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><a href='&a;'>&a;</a>",
    ],
)
async def test_a_page_of_any_make_is_read(website: Website, fetcher: Fetcher, content: bytes) -> None:
    website.put("/", content)
    page = await crawl(website, fetcher).read_page(f"{website.address}/")
    assert isinstance(page, Page)
    assert all("root:" not in link for link in page.links)


@given(
    st.binary(max_size=200),
    st.sampled_from(["", "utf-8", "latin-1", "no-such-charset", "utf-16", "\x00", "é"]),
)
def test_any_bytes_make_a_tree_or_none(content: bytes, charset: str) -> None:
    tree = parse_html(content, charset)
    assert tree is None or isinstance([element.tag for element in tree.iter("a")], list)


async def test_a_page_has_no_more_links_than_are_taken(website: Website, fetcher: Fetcher) -> None:
    website.put("/", "".join(f'<a href="/{number}">x</a>' for number in range(20_000)))
    page = await crawl(website, fetcher).read_page(f"{website.address}/")
    assert isinstance(page, Page)
    assert len(page.links) == 5_000
