"""Crawl: the pages of a site, one at a time, with the links that lead on.

A `Crawler` keeps to what its site asks (robots.txt, `nofollow`, `noindex`, the pause between two requests), and to what
its user asked for: what addresses begin with, and how deep. It holds no list of pages: the caller takes addresses from
a frontier of its own, has each read, and adds the links that come with it. So a job that was cut off goes on where it
stood. That a site of endless pages ends is a matter of depth, of the number of pages, and of what addresses look like.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import time
from collections import Counter
from typing import Any

import msgspec
from yarl import URL

from candide.domain.jobs import Item
from candide.domain.sources import TargetOptions
from candide.errors import FetchError
from candide.ingestion.addresses import normalize
from candide.ingestion.fetching import Fetched, Fetcher, NotModified
from candide.ingestion.robots import Robots

DEFAULT_DEPTH = 8
DEFAULT_LIMIT = 5_000
DEFAULT_DELAY_S = 0.5
MAX_LINKS = 5_000
"""Of one page."""

MAX_SEGMENTS = 20
MAX_REPEATS = 3
"""Of one segment in a path: links that are relative by mistake make paths that repeat without end."""

MAX_PARAMETERS = 8
MAX_QUERIES = 1_000
"""Of one path: that many different queries are a calendar, a filter or a search."""

HTML = ("text/html", "application/xhtml+xml")
_NOT_READ = ("image/", "video/", "audio/", "font/", "text/css", "text/javascript", "application/javascript")
_NOT_READ_ENDING = re.compile(
    r"\.(?:jpe?g|png|gif|webp|avif|svgz?|ico|bmp|tiff?|heic|mp[34]|m4[av]|mpe?g|avi|mov|mkv|webm|og[gv]|wav|flac|aac|"
    r"woff2?|ttf|otf|eot|css|m?js|map|wasm|zip|gz|tgz|bz2|xz|7z|rar|tar|zst|exe|msi|dmg|pkg|deb|rpm|apk|iso|img|bin|"
    r"jar|whl|torrent|ics|vcf|swf)$",
    re.IGNORECASE,
)


class Page(msgspec.Struct, kw_only=True, frozen=True):
    """One address of a site, read."""

    url: str
    """What the page is to be known by: the address after redirects, or the one that the page says is its own."""
    fetched: Fetched
    links: list[str] = []
    """Addresses within the scope, normalised, each once, in the page's order."""
    is_wanted: bool = True
    """Whether it may be kept; a page that asks not to be (`noindex`) is only gone through."""


class Skipped(msgspec.Struct, kw_only=True, frozen=True):
    """An address that is none of the site's pages, which is no failure."""

    url: str
    reason: str


class Crawler:
    """Reads the pages of one site. `start` is its first page, `options` what its user asked for."""

    def __init__(
        self,
        fetcher: Fetcher,
        robots: Robots,
        start: str,
        options: TargetOptions | None = None,
        *,
        delay_s: float = DEFAULT_DELAY_S,
    ) -> None:
        self._fetcher = fetcher
        self._robots = robots
        self.options = options or TargetOptions()
        self.start = normalize(start) or start
        self.depth = DEFAULT_DEPTH if self.options.depth is None else self.options.depth
        self.limit = DEFAULT_LIMIT if self.options.limit is None else self.options.limit
        asked = normalize(self.options.scope, self.start) if self.options.scope else None
        self.scope = asked or _folder_of(self.start)
        """What addresses begin with; a job that is to go on later keeps it in the options."""
        self._delay_s = delay_s if self.options.delay_s is None else self.options.delay_s
        self._next_at: dict[str, float] = {}
        self._queries: dict[str, set[str]] = {}

    def covers(self, url: str) -> bool:
        """Whether an address begins as the scope does; scheme, `www.` and capitals of the host aside."""
        return _place(url).startswith(_place(self.scope))

    async def read_page(
        self, url: str, *, etag: str | None = None, last_modified: str | None = None
    ) -> Page | NotModified | Skipped:
        """Fetch a page as soon as its host wants to be asked again.

        One that is NotModified brings no links: pages that were found behind it before are asked for by whoever knows
        them. Raises FetchError; one that `is_passing`, as when robots.txt cannot be had, is worth another try.
        """
        rules = await self._robots.rules_of(url)
        if rules.unreachable:
            raise FetchError(
                f"{url} is not read: {rules.unreachable}",
                hint="a site whose robots.txt cannot be had is not gone through",
                is_passing=True,
            )
        if not rules.allows(url):
            return Skipped(url=url, reason="the site's robots.txt asks not to")
        await self._wait(url, self._delay_s if rules.delay_s is None else rules.delay_s)
        unread: list[str] = []

        def is_wanted(media_type: str) -> bool:
            if media_type.startswith(_NOT_READ):
                unread.append(media_type)
            return not unread

        try:
            fetched = await self._fetcher.fetch(url, etag=etag, last_modified=last_modified, wanted=is_wanted)
        except FetchError:
            if unread:
                return Skipped(url=url, reason=f"{unread[0]} is not read")
            raise
        if isinstance(fetched, NotModified):
            return fetched
        arrived = normalize(fetched.url) or fetched.url
        if arrived != url:
            if url == self.start and not self.options.scope:
                self._follow_move(arrived)
            if not self.covers(arrived):
                return Skipped(url=url, reason=f"it leads out of the site, to {arrived}")
            if not (await self._robots.rules_of(arrived)).allows(arrived):
                return Skipped(url=url, reason="the site's robots.txt asks not to")
        return await asyncio.to_thread(self._read_links, fetched, arrived)

    def _follow_move(self, arrived: str) -> None:
        """A site that has moved is meant where it is now; `/docs` that leads to `/docs/` is a folder."""
        if not self.covers(arrived) or _place(arrived) == _place(self.start) + "/":
            self.scope = _folder_of(arrived)

    def items_of(self, page: Page, item: Item) -> list[Item]:
        """What a page adds to the frontier; nothing beyond the depth that was asked for."""
        if item.depth >= self.depth:
            return []
        return [Item(key=link, target_id=item.target_id, depth=item.depth + 1) for link in page.links]

    def _read_links(self, fetched: Fetched, url: str) -> Page:
        tag = _directives(fetched.robots_tag)
        is_html = fetched.media_type in HTML or (not fetched.media_type and b"<" in fetched.content[:1024])
        tree = parse_html(fetched.content, fetched.charset) if is_html else None
        if tree is None:
            return Page(url=url, fetched=fetched, is_wanted=not tag & {"noindex", "none"})
        meta: set[str] = set()
        for element in tree.iter("meta"):
            if (element.get("name") or "").lower() in (
                "robots",
                self._fetcher.user_agent.partition("/")[0].lower(),
            ):
                meta |= _directives(element.get("content") or "")
        asked = tag | meta
        return Page(
            url=self._own_address(tree, url),
            fetched=fetched,
            links=[] if asked & {"nofollow", "none"} else self._find_links(tree, url),
            is_wanted=not asked & {"noindex", "none"},
        )

    def _find_links(self, tree: Any, url: str) -> list[str]:
        base = _base_of(tree, url)
        found: dict[str, None] = {}
        for element in tree.iter("a", "area", "iframe", "frame", "link"):
            rel = (element.get("rel") or "").lower().split()
            if "nofollow" in rel or (element.tag == "link" and "next" not in rel):
                continue
            address = element.get("href") if element.tag in ("a", "area", "link") else element.get("src")
            if not address or address.startswith(("#", "javascript:", "mailto:", "tel:", "data:")):
                continue
            link = normalize(address, base)
            if link and link != url and link not in found and self.covers(link) and self._is_sane(link):
                found[link] = None
                if len(found) >= MAX_LINKS:
                    break
        return list(found)

    def _own_address(self, tree: Any, url: str) -> str:
        """What the page says is its address, if that can be believed: it is of the site, and no page of many."""
        for element in tree.iter("link"):
            if "canonical" in (element.get("rel") or "").lower().split():
                own = normalize(element.get("href") or "", _base_of(tree, url))
                # A template that names the first page as everyone's address is met more often than a real one.
                if own and self.covers(own) and (URL(own).path != "/" or URL(url).path == "/"):
                    return own
                break
        return url

    def _is_sane(self, link: str) -> bool:
        parsed = URL(link)
        path = parsed.raw_path
        if _NOT_READ_ENDING.search(path):
            return False
        segments = [segment for segment in path.split("/") if segment]
        if len(segments) > MAX_SEGMENTS or max(Counter(segments).values(), default=0) > MAX_REPEATS:
            return False
        if parsed.raw_query_string:
            if parsed.raw_query_string.count("&") >= MAX_PARAMETERS:
                return False
            known = self._queries.setdefault(f"{parsed.raw_authority}{path}", set())
            if len(known) < MAX_QUERIES:
                known.add(parsed.raw_query_string)
            return parsed.raw_query_string in known
        return True

    async def _wait(self, url: str, delay_s: float) -> None:
        """Until the host may be asked again; who comes at the same time comes after."""
        host = URL(url).raw_authority
        now = time.monotonic()
        turn = max(now, self._next_at.get(host, 0.0))
        self._next_at[host] = turn + delay_s
        if turn > now:
            await asyncio.sleep(turn - now)


def parse_html(content: bytes, charset: str = "") -> Any:
    """The tree of a page as lxml makes it of anything, or None where there is nothing; it fetches nothing."""
    # lxml has no types.
    etree: Any = importlib.import_module("lxml.etree")
    if not content.strip():
        return None
    for encoding in (charset, ""):
        try:
            parser = etree.HTMLParser(encoding=encoding or None, no_network=True, huge_tree=False)
            return etree.fromstring(content, parser)
        except LookupError:
            continue
        except (etree.LxmlError, ValueError):
            return None
    return None


def _base_of(tree: Any, url: str) -> str:
    for element in tree.iter("base"):
        if element.get("href"):
            return normalize(element.get("href"), url) or url
    return url


def _directives(text: str) -> set[str]:
    """Of a robots tag; those that are for one named robot are not told apart from those for all."""
    return {part.rpartition(":")[2].strip() for part in text.lower().split(",")}


def _folder_of(url: str) -> str:
    """The folder of a page: its address up to the last slash of the path."""
    parsed = URL(url)
    return str(parsed.origin()) + parsed.raw_path[: parsed.raw_path.rindex("/") + 1]


def _place(url: str) -> str:
    """An address without what does not tell two sites apart."""
    parsed = URL(url)
    host = (parsed.host or "").removeprefix("www.")
    port = "" if parsed.is_default_port() else f":{parsed.port}"
    return f"{host}{port}{parsed.raw_path_qs}"
