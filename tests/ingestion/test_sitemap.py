from __future__ import annotations

import gzip

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from candide.errors import FetchError
from candide.ingestion.fetching import Fetcher
from candide.ingestion.robots import Robots
from candide.ingestion.sitemap import Listed, parse, read_sitemaps

from .websites import Website

SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
BASE = "https://example.com/sitemap.xml"


def urlset(*urls: str) -> str:
    entries = "".join(f"<url><loc>{url}</loc></url>" for url in urls)
    return f'<?xml version="1.0" encoding="UTF-8"?><urlset {SPACE}>{entries}</urlset>'


def index(*urls: str) -> str:
    entries = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in urls)
    return f'<?xml version="1.0" encoding="UTF-8"?><sitemapindex {SPACE}>{entries}</sitemapindex>'


async def read_all(website: Website, fetcher: Fetcher, limit: int = 50_000) -> list[str]:
    listed = read_sitemaps(fetcher, Robots(fetcher), f"{website.address}/docs/", limit=limit)
    return [one.url.removeprefix(website.address) async for one in listed]


def test_addresses_come_with_the_time_of_their_change() -> None:
    content = f"""<?xml version="1.0"?>
    <urlset {SPACE} xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
      <!-- a comment -->
      <url><loc> https://Example.com/a?x=1&amp;y=2 </loc><lastmod>2024-05-01</lastmod>
        <image:image><image:loc>https://example.com/a.jpg</image:loc></image:image></url>
      <url><loc>https://example.com/b?x=1&y=2</loc><lastmod>2024-05-01T02:00:00+02:00</lastmod></url>
      <url><loc><![CDATA[https://example.com/c]]></loc><lastmod>recently</lastmod></url>
      <url><lastmod>2024-05-01</lastmod></url>
      <url><loc>ftp://example.com/d</loc></url>
    </urlset>"""
    assert list(parse(content.encode(), BASE)) == [
        Listed("https://example.com/a?x=1&y=2", 1714521600.0),
        Listed("https://example.com/b?x=1&y=2", 1714521600.0),
        Listed("https://example.com/c", None),
    ]


def test_other_forms_are_read_too() -> None:
    a, b = "https://example.com/a", "https://example.com/b"
    assert [*parse(f"{a}\r\n\n{b}\nnot an address".encode(), BASE)] == [Listed(a), Listed(b)]
    assert [*parse(b"\xef\xbb\xbf" + a.encode(), BASE)] == [Listed(a)]
    assert [*parse(gzip.compress(urlset(a, b).encode()), BASE)] == [Listed(a), Listed(b)]
    assert [*parse(f"<rss><channel><item><link>{a}</link></item></channel></rss>".encode(), BASE)] == [
        Listed(a)
    ]
    atom = f'<feed xmlns="http://www.w3.org/2005/Atom"><entry><link href="{b}"/><updated>2024-05-01</updated></entry></feed>'
    assert [*parse(atom.encode(), BASE)] == [Listed(b, 1714521600.0)]
    assert [*parse(index(a).encode(), BASE)] == [a]


def test_what_is_damaged_gives_what_comes_before() -> None:
    content = urlset(*(f"https://example.com/{number}" for number in range(100))).encode()
    assert len(list(parse(content[: len(content) // 2], BASE))) >= 45
    packed = gzip.compress(content)
    assert list(parse(packed[:-20], BASE))
    assert list(parse(b"<html><body>404</body></html>", BASE)) == []
    assert list(parse(b"", BASE)) == []


def test_nothing_is_expanded() -> None:
    names = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "lol">{names}<!ENTITY f SYSTEM "file:///etc/hostname">]>'
    content = f"{bomb}<urlset><url><loc>https://example.com/&a11;</loc></url><url><loc>https://example.com/&f;</loc></url></urlset>"
    listed = list(parse(content.encode(), BASE))
    assert all(isinstance(one, Listed) and len(one.url) < 100 for one in listed)
    with open("/etc/hostname") as file:
        name = file.read().strip()
    assert all(name not in str(one) for one in listed)


def test_a_bomb_is_unpacked_as_far_as_sitemaps_go() -> None:
    head = urlset("https://example.com/a").encode().replace(b"</urlset>", b"")
    bomb = gzip.compress(head + b" " * (200 << 20), 1)
    assert list(parse(bomb, BASE)) == [Listed("https://example.com/a")]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_sitemap_of_something_or_nothing(content: bytes) -> None:
    for whole in (content, urlset("https://example.com/").encode()[:-9] + content, gzip.compress(content)):
        for found in parse(whole, BASE):
            assert (found if isinstance(found, str) else found.url).startswith("http")


async def test_robots_txt_says_where_sitemaps_are(website: Website, fetcher: Fetcher) -> None:
    website.put(
        "/robots.txt", f"Sitemap: {website.address}/map\nSitemap: {website.address}/more.gz\n", "text/plain"
    )
    website.put("/map", index(f"{website.address}/one.xml", "/two.xml"), "text/xml")
    website.put("/one.xml", urlset(f"{website.address}/a", f"{website.address}/b#x"), "text/xml")
    website.put("/two.xml", urlset("/b", "https://elsewhere.example/c"), "text/xml")
    website.put("/more.gz", gzip.compress(urlset("/d").encode()), "application/gzip")
    website.put("/sitemap.xml", urlset("/never"), "text/xml")
    assert sorted(await read_all(website, fetcher)) == ["/a", "/b", "/d", "https://elsewhere.example/c"]


async def test_without_a_word_of_it_the_usual_place_is_looked_at(website: Website, fetcher: Fetcher) -> None:
    website.put("/sitemap.xml", urlset("/a"), "text/xml")
    assert await read_all(website, fetcher) == ["/a"]


async def test_a_site_without_a_sitemap_lists_nothing(website: Website, fetcher: Fetcher) -> None:
    assert await read_all(website, fetcher) == []


async def test_sitemaps_that_name_each_other_end(website: Website, fetcher: Fetcher) -> None:
    website.put("/sitemap.xml", index("/sitemap.xml", "/b.xml"), "text/xml")
    website.put("/b.xml", index("/sitemap.xml", "/c.xml"), "text/xml")
    website.put("/c.xml", index("/d.xml") + "", "text/xml")
    website.put("/d.xml", index("/e.xml"), "text/xml")
    website.put("/e.xml", urlset("/too-deep"), "text/xml")
    assert await read_all(website, fetcher) == []
    assert website.asked.count("/sitemap.xml") == 1
    assert "/e.xml" not in website.asked


async def test_no_more_is_listed_than_the_limit(website: Website, fetcher: Fetcher) -> None:
    website.put("/sitemap.xml", index(*(f"/{number}.xml" for number in range(5))), "text/xml")
    for number in range(5):
        website.put(f"/{number}.xml", urlset(*(f"/{number}/{n}" for n in range(100))), "text/xml")
    assert len(await read_all(website, fetcher, limit=150)) == 150
    assert "/2.xml" not in website.asked


async def test_what_is_not_wanted_does_not_count(website: Website, fetcher: Fetcher) -> None:
    website.put(
        "/sitemap.xml",
        urlset(*(f"/blog/{n}" for n in range(100)), "/docs/a", "/docs/b", "/docs/c"),
        "text/xml",
    )
    listed = read_sitemaps(
        fetcher, Robots(fetcher), website.address, wanted=lambda url: "/docs/" in url, limit=2
    )
    assert [one.url.removeprefix(website.address) async for one in listed] == ["/docs/a", "/docs/b"]


async def test_one_that_fails_costs_itself_alone(website: Website, fetcher: Fetcher) -> None:
    website.put(
        "/sitemap.xml", index("/gone.xml", "/down.xml", "http://10.0.0.1/x.xml", "/a.xml"), "text/xml"
    )
    website.pages["/down.xml"] = web.Response(status=500)
    website.put("/a.xml", urlset("/a"), "text/xml")
    assert await read_all(website, fetcher) == ["/a"]


async def test_a_site_in_trouble_is_not_taken_for_one_without_a_sitemap(
    website: Website, fetcher: Fetcher
) -> None:
    website.pages["/sitemap.xml"] = web.Response(status=503)
    with pytest.raises(FetchError) as failed:
        await read_all(website, fetcher)
    assert failed.value.is_passing
