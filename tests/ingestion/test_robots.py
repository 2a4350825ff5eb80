from __future__ import annotations

import time

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from candide.errors import FetchError
from candide.ingestion import robots as robots_module
from candide.ingestion.fetching import Fetcher
from candide.ingestion.robots import Robots, parse

from .websites import Website

RULES = """
User-agent: Other
Disallow: /

User-agent: candide
Disallow: /private/
Allow: /private/open$
Disallow: /*.cgi
Crawl-delay: 2

User-agent: *
Disallow: /

Sitemap: https://example.com/map.xml
Sitemap: /relative.xml
Sitemap: https://example.com/other.xml
"""


def test_the_rules_for_this_agent_are_found() -> None:
    rules = parse(RULES.encode(), "Candide")
    assert rules.allows("https://example.com/")
    assert not rules.allows("https://example.com/private/x")
    assert rules.allows("https://example.com/private/open")
    assert not rules.allows("https://example.com/a/b.cgi?x")
    assert rules.delay_s == 2
    assert rules.sitemaps == ("https://example.com/map.xml", "https://example.com/other.xml")


def test_who_has_no_rules_of_his_own_keeps_those_for_all() -> None:
    assert not parse(RULES.encode(), "Unheard").allows("https://example.com/")


@pytest.mark.parametrize(
    ("line", "delay_s"),
    [
        ("Crawl-delay: 0.5", 0.5),
        ("Crawl-delay: 100000", 60.0),
        ("Crawl-delay: -5", None),
        ("Crawl-delay: nan", None),
        ("Crawl-delay: inf", None),
        ("Crawl-delay: soon", None),
        ("Request-rate: 1/10s", 10.0),
        ("", None),
    ],
)
def test_a_pause_is_sensible_or_none(line: str, delay_s: float | None) -> None:
    assert parse(f"User-agent: *\n{line}\n".encode(), "Candide").delay_s == delay_s


def test_a_pattern_cannot_take_long() -> None:
    rules = parse(b"User-agent: *\nDisallow: /" + b"*a" * 5_000 + b"b\n" * 3, "Candide")
    assert rules.allows("https://example.com/" + "a" * 1_900)


@given(st.binary(max_size=300), st.text(max_size=30))
def test_whatever_stands_there_something_is_allowed_or_not(content: bytes, path: str) -> None:
    rules = parse(b"User-agent: *\nDisallow: /x\n" + content, "Candide")
    assert rules.allows(f"https://example.com/{path}") in (True, False)
    assert rules.delay_s is None or 0 <= rules.delay_s <= 60


lines = st.sampled_from(
    [
        "User-agent: *",
        "User-agent: Candide",
        "Disallow: /a",
        "Disallow:",
        "Allow: /a/b",
        "Crawl-delay: 1",
        "# x",
        "",
        "\ufeff",
        "Disallow: /é",
        "Disallow: /%zz",
    ]
)


@given(st.lists(lines, max_size=12), st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_is_disallowed_for_all_is_disallowed_whatever_stands_around(some: list[str], end: str) -> None:
    text = end.join(["User-agent: Candide", "Disallow: /never", *some])
    assert not parse(text.encode(), "Candide").allows("https://example.com/never/x")


async def test_rules_are_fetched_once_a_host(website: Website, fetcher: Fetcher) -> None:
    website.put("/robots.txt", "User-agent: *\nDisallow: /no\n", "text/plain")
    robots = Robots(fetcher)
    for path in ("/a", "/no/b", "/c?d"):
        rules = await robots.rules_of(website.address + path)
        assert rules.allows(website.address + path) == (path != "/no/b")
    assert website.asked == ["/robots.txt"]


async def test_rules_are_fetched_again_after_a_day(
    website: Website, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    website.put("/robots.txt", "User-agent: *\nDisallow: /no\n", "text/plain")
    robots = Robots(fetcher)
    url = f"{website.address}/no"
    assert not (await robots.rules_of(url)).allows(url)
    now = time.monotonic()
    monkeypatch.setattr(robots_module.time, "monotonic", lambda: now + 86_401)
    # Down now: what was asked before holds on.
    website.pages["/robots.txt"] = web.Response(status=500)
    assert not (await robots.rules_of(url)).allows(url)
    assert (await robots.rules_of(url)).allows(f"{website.address}/yes")
    monkeypatch.setattr(robots_module.time, "monotonic", lambda: now + 2 * 86_401)
    website.put("/robots.txt", "", "text/plain")
    assert (await robots.rules_of(url)).allows(url)


@pytest.mark.parametrize(
    ("status", "allows"),
    [(404, True), (403, True), (410, True), (401, True), (500, False), (503, False), (429, False)],
)
async def test_a_host_without_rules_allows_all_and_one_in_trouble_nothing(
    website: Website, fetcher: Fetcher, status: int, allows: bool
) -> None:
    website.pages["/robots.txt"] = web.Response(status=status)
    rules = await Robots(fetcher).rules_of(f"{website.address}/a")
    assert rules.allows(f"{website.address}/a") == allows
    assert bool(rules.unreachable) != allows


async def test_a_host_that_is_not_there_allows_nothing(website: Website, fetcher: Fetcher) -> None:
    url = f"{website.address}/a"
    await website.stop()
    rules = await Robots(fetcher).rules_of(url)
    assert not rules.allows(url)
    assert "cannot be reached" in rules.unreachable


async def test_rules_may_lie_behind_redirects(website: Website, fetcher: Fetcher) -> None:
    website.pages["/robots.txt"] = web.Response(status=301, headers={"Location": "/moved.txt"})
    website.put("/moved.txt", "User-agent: *\nDisallow: /\n", "text/plain")
    assert not (await Robots(fetcher).rules_of(website.address)).allows(f"{website.address}/a")
    website.pages["/robots.txt"] = web.Response(status=301, headers={"Location": "/robots.txt"})
    assert (await Robots(fetcher).rules_of(website.address)).allows(f"{website.address}/a")


async def test_only_the_beginning_of_endless_rules_is_read(website: Website, fetcher: Fetcher) -> None:
    website.put("/robots.txt", "User-agent: *\nDisallow: /no\n" + "# long\n" * 200_000, "text/plain")
    rules = await Robots(fetcher).rules_of(website.address)
    assert not rules.allows(f"{website.address}/no")
    assert rules.allows(f"{website.address}/yes")


async def test_what_must_not_be_fetched_has_no_rules() -> None:
    fetcher = Fetcher()
    with pytest.raises(FetchError):
        await Robots(fetcher).rules_of("http://10.0.0.1/")
    await fetcher.close()
