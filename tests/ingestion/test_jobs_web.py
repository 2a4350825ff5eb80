"""Pages, sites and feeds are read from servers, kept up to date at little cost, and go when they are gone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from candide.ingestion.targets import FEED_REFRESH_S

from .reading_places import Place, counts
from .websites import Website

PARAGRAPH = (
    "The gardener of {0} waters {0} in the morning, prunes it in the evening, and writes down what it bears. "
)


@pytest.fixture
async def place(tmp_path: Path, empty_database: Path) -> AsyncIterator[Place]:
    place = await Place.open(tmp_path / "home", empty_database)
    yield place
    await place.close()


def make_page(title: str, *links: str, head: str = "") -> str:
    anchors = "".join(f'<p><a href="{link}">{link}</a></p>' for link in links)
    text = "".join(f"<p>{PARAGRAPH.format(f'{title} {n}')}</p>" for n in range(4))
    return (
        f"<!doctype html><html lang='en'><head><title>{title}</title>{head}</head>"
        f"<body><nav>{anchors}</nav><article><h1>{title}</h1>{text}</article></body></html>"
    )


def make_feed(*entries: tuple[str, str, str]) -> str:
    """RSS with entries of an id, a link and a description."""
    items = "".join(
        f"<item><guid isPermaLink='false'>tag:garden,2024:{name}</guid><link>{link}</link><title>{name}</title>"
        f"<description><![CDATA[{text}]]></description><pubDate>Wed, 01 May 2024 08:00:00 GMT</pubDate></item>"
        for name, link, text in entries
    )
    return (
        f"<?xml version='1.0'?><rss version='2.0'><channel><title>Garden news</title>{items}</channel></rss>"
    )


async def titles(place: Place) -> set[str]:
    return {source.title for source in await place.list_sources()}


async def test_a_page_is_asked_for_with_conditions_and_goes_when_its_server_says_that_it_is_gone(
    place: Place, website: Website
) -> None:
    async def give(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == '"one"':
            return web.Response(status=304, headers={"ETag": '"one"'})
        return web.Response(text=make_page("Figs"), content_type="text/html", headers={"ETag": '"one"'})

    website.pages["/figs"] = give
    assert counts(await place.read(f"{website.address}/figs")) == {"added": 1}
    (source,) = await place.list_sources()
    assert (source.title, source.kind, source.language) == ("Figs", "page", "en")
    assert counts(await place.refresh()) == {"unchanged": 1}
    assert website.requests[-1].headers["If-None-Match"] == '"one"'
    # The same text between other bytes is the same source.
    website.put("/figs", make_page("Figs", head="<meta name='nonce' content='8731'>"))
    assert counts(await place.refresh()) == {"unchanged": 1}
    website.put("/figs", make_page("Fig trees"))
    assert counts(await place.refresh()) == {"updated": 1}
    website.pages["/figs"] = web.Response(status=500)
    failed = await place.refresh()
    assert counts(failed) == {"failed": 1}
    assert await titles(place) == {"Fig trees"}
    website.pages["/figs"] = web.Response(status=410)
    assert counts(await place.refresh()) == {"removed": 1, "failed": 1}
    assert await titles(place) == set()
    (target,) = await place.libraries.list_targets(place.library)
    assert "410" in (target.error or "")


async def test_a_site_is_read_by_its_links_and_its_sitemap(place: Place, website: Website) -> None:
    website.put("/", make_page("Home", "/a", "/b", "/missing", "https://example.org/elsewhere"))
    website.put("/a", make_page("A", "/a/deep"))
    website.put("/a/deep", make_page("Deep"))
    website.put("/b", make_page("B", "/private/secret"))
    website.put("/private/secret", make_page("Secret"))
    website.put("/listed", make_page("Listed"))
    website.put("/broken", b"%PDF-1.7 and nothing more", "application/pdf")
    website.put("/robots.txt", "User-agent: *\nDisallow: /private/\n", "text/plain")
    listed = "".join(
        f"<url><loc>{website.address}{path}</loc></url>" for path in ("/listed", "/broken", "/a")
    )
    website.put("/sitemap.xml", f"<urlset>{listed}</urlset>", "application/xml")
    job = await place.read(website.address, "site", delay_s=0)
    assert counts(job) == {"added": 5, "failed": 1}
    assert await titles(place) == {"Home", "A", "Deep", "B", "Listed"}
    assert [problem.uri for problem in job.problems] == [f"{website.address}/broken"]
    assert "/private/secret" not in website.asked
    assert max(website.asked.count(path) for path in ("/", "/a", "/a/deep", "/b", "/listed")) == 1

    website.put("/a", make_page("A anew", "/a/deep", "/a/second"))
    website.put("/a/second", make_page("Second"))
    website.pages["/b"] = web.Response(status=404)
    again = await place.refresh()
    assert counts(again) == {"added": 1, "updated": 1, "unchanged": 3, "removed": 1, "failed": 1}
    assert await titles(place) == {"Home", "A anew", "Deep", "Second", "Listed"}


async def test_a_site_is_read_no_deeper_and_no_further_than_was_asked_for(
    place: Place, website: Website
) -> None:
    website.put("/docs/", make_page("Docs", "/docs/1", "/blog/1"))
    for n in range(1, 9):
        website.put(f"/docs/{n}", make_page(f"Page {n}", f"/docs/{n + 1}"))
    await place.read(f"{website.address}/docs/", "site", delay_s=0, depth=2)
    assert await titles(place) == {"Docs", "Page 1", "Page 2"}
    await place.read(f"{website.address}/docs/", "site", delay_s=0, limit=4)
    assert await titles(place) == {"Docs", "Page 1", "Page 2", "Page 3"}
    assert "/blog/1" not in website.asked


async def test_a_feed_is_known_by_its_content_and_polled_and_its_entries_stay(
    place: Place, website: Website
) -> None:
    article = PARAGRAPH.format("the whole article") * 30
    website.put("/entry/short", make_page("Behind the summary"))
    feed = [
        ("Long", f"{website.address}/entry/long", article),
        ("Short", f"{website.address}/entry/short", "Only this …"),
    ]
    website.put("/feed", make_feed(*feed), "application/rss+xml")
    job = await place.read(f"{website.address}/feed")
    assert counts(job) == {"added": 2}
    by_title = {source.title: source for source in await place.list_sources()}
    assert set(by_title) == {"Long", "Short"}
    assert by_title["Long"].kind == "feed_entry"
    assert by_title["Long"].published == 1714550400.0
    assert by_title["Long"].uri == f"{website.address}/entry/long"
    # Of what the feed gives whole, no page is asked for.
    assert website.asked.count("/entry/long") == 0
    text, _, _ = await place.sources.read_text(by_title["Short"].id)
    assert "Behind the summary 2" in text
    (target,) = await place.libraries.list_targets(place.library)
    assert (target.kind, target.refresh_s) == ("feed", FEED_REFRESH_S)
    assert target.next_check_at is not None

    asked = len(website.asked)
    new = ("New", f"{website.address}/entry/new", PARAGRAPH.format("the new one") * 30)
    website.put("/feed", make_feed(new, feed[1]), "application/rss+xml")
    again = await place.refresh()
    assert counts(again) == {"added": 1, "unchanged": 1}
    assert website.asked[asked:] == ["/feed"]
    assert await titles(place) == {"Long", "Short", "New"}


@pytest.mark.parametrize("kind", ["page", "feed", "site"])
async def test_an_address_that_must_not_be_fetched_is_a_problem_with_a_reason_and_is_not_kept(
    place: Place, kind: str
) -> None:
    job = await place.finish(await place.add("http://169.254.169.254/latest/meta-data/", kind))
    assert counts(job) == {"failed": 1}
    assert "169.254.169.254" in job.problems[0].reason
    assert await place.list_sources() == []
    assert await place.libraries.list_targets(place.library) == []
    assert await place.jobs.find_unread([place.library]) == []


async def test_an_address_that_only_fails_is_kept_to_be_tried_again(place: Place, website: Website) -> None:
    job = await place.read(f"{website.address}/nothing")
    assert counts(job) == {"failed": 1}
    (target,) = await place.libraries.list_targets(place.library)
    assert target.error


async def test_a_pdf_of_the_web_is_kept_so_that_its_pages_can_be_shown(
    place: Place, website: Website
) -> None:
    website.put("/paper.pdf", make_pdf("Of gardens and of those who keep them, a paper."), "application/pdf")
    job = await place.read(f"{website.address}/paper.pdf")
    assert counts(job) == {"added": 1}, job.problems
    (source,) = await place.list_sources()
    original = await place.sources.find_original(source.id)
    assert original == f"originals/{source.content_hash}.pdf"
    assert (place.home / original).read_bytes() == make_pdf("Of gardens and of those who keep them, a paper.")


def make_pdf(text: str) -> bytes:
    """A PDF of one page with one line."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    pdf, starts = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        starts.append(len(pdf))
        pdf += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{start:010} 00000 n \n" for start in starts)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(pdf)}\n%%EOF\n"
    return pdf + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


async def test_a_site_goes_on_where_it_was_cut_off(
    tmp_path: Path, empty_database: Path, website: Website
) -> None:
    website.put("/", make_page("Home", *(f"/{n}" for n in range(30))))
    for n in range(30):
        website.put(f"/{n}", make_page(f"Page {n}"))
    async with contextlib.AsyncExitStack() as stack:
        place = await Place.open(tmp_path / "home", empty_database)
        stack.push_async_callback(place.close)
        job = await place.add(website.address, "site")
        await place.wait(job, lambda now: now.progress.done >= 3)
        await place.close()
        asked = len(website.asked)
        assert asked < 25
        again = await Place.open(tmp_path / "home", empty_database)
        stack.push_async_callback(again.close)
        await again.finish(job)
        assert len(await again.list_sources()) == 31
        pages = [path for path in website.asked if path not in ("/robots.txt", "/sitemap.xml")]
        # What was being read when it was cut off is read once more.
        assert len(pages) <= 31 + 8
        assert len(set(pages)) == 31
