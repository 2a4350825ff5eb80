"""Sitemaps: the addresses that a site lists itself, and when each was last changed (sitemaps.org, 0.9).

Indexes of sitemaps, packed files, plain lists and half-broken XML are read, as far as each goes. Nothing in the XML is
expanded or fetched, and files, addresses and bytes are limited, so that no site makes this endless.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import re
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec

from candide.errors import FetchError
from candide.ingestion.addresses import normalize
from candide.ingestion.fetching import Fetched, Fetcher
from candide.ingestion.jsonl import read_date
from candide.ingestion.robots import Robots

MAX_BYTES = 50 * 1024 * 1024
"""Of one file, unpacked: what sitemaps.org allows."""

MAX_FILES = 500
MAX_NESTING = 3
"""An index of indexes is one too many for the protocol, and yet met."""


_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-f]{1,6});)", re.IGNORECASE)
"""One that is no reference: addresses are written into sitemaps as they are."""


class Listed(msgspec.Struct, frozen=True):
    """An address of a sitemap."""

    url: str
    changed_at: float | None = None
    """Seconds since 1970, UTC."""


async def read_sitemaps(
    fetcher: Fetcher,
    robots: Robots,
    site: str,
    *,
    wanted: Callable[[str], bool] | None = None,
    limit: int = 50_000,
) -> AsyncIterator[Listed]:
    """The addresses that a site lists: those of the sitemaps its robots.txt names, or else of its /sitemap.xml.

    Each comes once, normalised, and only those that are `wanted` come and count; without it those of other hosts come
    too. A site that has no sitemap gives none; raises FetchError only where none of its sitemaps could be fetched for a
    reason that may pass.
    """
    rules = await robots.rules_of(site)
    first = list(rules.sitemaps) or [normalize("/sitemap.xml", site) or ""]
    async for listed in read_files(fetcher, first, wanted=wanted, limit=limit):
        yield listed


async def read_files(
    fetcher: Fetcher, urls: list[str], *, wanted: Callable[[str], bool] | None = None, limit: int = 50_000
) -> AsyncIterator[Listed]:
    """The addresses in sitemaps and in those that they name; see `read_sitemaps`."""
    waiting = deque((url, 0) for url in urls)
    seen = set(urls)
    given: set[str] = set()
    files = failures = 0
    failure: FetchError | None = None
    while waiting and files < MAX_FILES and len(given) < limit:
        url, nesting = waiting.popleft()
        files += 1
        try:
            fetched = await fetcher.fetch(url, max_bytes=MAX_BYTES)
        except FetchError as error:
            failures += 1
            failure = error if error.is_passing else failure
            continue
        if not isinstance(fetched, Fetched):
            continue
        # Fifty megabytes take a while, and whoever waits for other things goes on.
        for listed in await asyncio.to_thread(_parse_all, fetched.content, fetched.url):
            if isinstance(listed, Listed):
                if listed.url not in given and (wanted is None or wanted(listed.url)):
                    given.add(listed.url)
                    yield listed
                    if len(given) >= limit:
                        break
            elif nesting < MAX_NESTING and listed not in seen:
                seen.add(listed)
                waiting.append((listed, nesting + 1))
    if failure is not None and failures == files:
        raise failure


def parse(content: bytes, base: str) -> Iterator[Listed | str]:
    """What stands in one file: addresses, and as plain strings the addresses of further sitemaps.

    A damaged file gives what comes before the damage.
    """
    content = _unpack(content)
    head = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(b"<"):
        yield from _parse_lines(content, base)
        return
    for name, members in _find_entries(_AMPERSAND.sub(b"&amp;", content)):
        location = members.get("loc") or members.get("link")
        url = normalize(location, base) if location else None
        if url is None:
            continue
        if name == "sitemap":
            yield url
        else:
            yield Listed(url, read_date(members.get("lastmod") or members.get("updated")))


def _find_entries(content: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """The entries of a sitemap or feed with their members' texts, by names without namespaces."""
    # lxml has no types; libxml2 goes on after what is not well-formed, like an address with a bare ampersand.
    etree: Any = importlib.import_module("lxml.etree")
    events = etree.iterparse(
        io.BytesIO(content),
        events=("end",),
        tag=[f"{{*}}{name}" for name in ("url", "sitemap", "item", "entry")],
        recover=True,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
    )
    try:
        for _, element in events:
            members = {_local(child.tag): _text(child) for child in element if isinstance(child.tag, str)}
            yield _local(element.tag), members
            # What was read goes, so that a large file costs the memory of one entry.
            parent = element.getparent()
            element.clear()
            while parent is not None and element.getprevious() is not None:
                del parent[0]
    except etree.XMLSyntaxError:
        return


def _local(tag: str) -> str:
    return tag.rpartition("}")[2].lower()


def _text(element: Any) -> str:
    """The text of an element, or the address that a `link` of Atom has instead."""
    return (element.text or element.get("href") or "").strip()


def _parse_all(content: bytes, base: str) -> list[Listed | str]:
    return list(parse(content, base))


def _parse_lines(content: bytes, base: str) -> Iterator[Listed]:
    for line in io.BytesIO(content):
        text = line.decode("utf-8", errors="replace").strip().lstrip("\ufeff")
        if text.lower().startswith(("http://", "https://")) and (url := normalize(text, base)):
            yield Listed(url)


def _unpack(content: bytes) -> bytes:
    """What is inside of gzip, as far as it is whole and within the limit."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    unpacked = bytearray()
    for start in range(0, len(content), 65_536):
        try:
            unpacked += unpacker.decompress(content[start : start + 65_536], MAX_BYTES - len(unpacked) + 1)
        except zlib.error:
            break
        if len(unpacked) > MAX_BYTES:
            del unpacked[MAX_BYTES:]
            break
    return bytes(unpacked)
