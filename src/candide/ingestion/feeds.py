"""Feeds: RSS, Atom and JSON Feed to entries, and which feeds a page names.

Nothing is fetched here, and nothing expanded; a feed has a limit of bytes and of entries. Addresses are completed and
normalised. The HTML of an entry stays as the server sent it, scripts included: it is to be extracted from, never to be
shown. A feed that is damaged gives what can be read of it.
"""

from __future__ import annotations

import calendar
import hashlib
import html
import importlib
import io
import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from candide.errors import UnreadableDocument
from candide.ingestion.addresses import normalize
from candide.ingestion.crawl import parse_html
from candide.ingestion.jsonl import read_date

MAX_BYTES = 16 * 1024 * 1024
MAX_ENTRIES = 3_000
"""What comes after that is older than anyone follows a feed for."""

FULL_WORDS = 200
"""As many words of an entry's own text are the article, and fewer perhaps its beginning."""

FEED_TYPES = (
    "application/rss+xml",
    "application/atom+xml",
    "application/feed+json",
    "application/rdf+xml",
    "application/x-rss+xml",
)

_TAG = re.compile(r"<[^<>]*>")
_OPENING = re.compile(rb"<(?:item|entry)[\s>]")
_CLOSING = {b"rss": b"</channel></rss>", b"feed": b"</feed>", b"rdf": b"</rdf:RDF>"}
_ENTITY = re.compile(rb"""<!ENTITY\s[^>"']*(?:"([^"]*)"|'([^']*)')[^>]*>""")
_GOES_ON = re.compile(
    r"(?:…|\.\.\.|\[(?:…|\.\.\.|&#8230;|\+\])\]?|\b(?:read more|continue reading|read the (?:rest|full \w+)|more|"
    r"lire la suite|lire plus|en savoir plus|lire l['’]article|weiterlesen|mehr lesen|leer más|seguir leyendo|"
    r"continua a leggere|leia mais|lees verder)\b)[\s.)\]»›→>]*$",
    re.IGNORECASE,
)
_ROOT = re.compile(rb"<(?:[a-z]+:)?(rss|feed|rdf)[\s>]", re.IGNORECASE)


class Entry(msgspec.Struct, kw_only=True, frozen=True):
    id: str
    """What makes it the same entry as before: the one that it brings along, else its address, else a hash."""
    url: str | None = None
    title: str = ""
    content: str = ""
    """HTML: the article, or its summary."""
    is_summary: bool = True
    """Whether `content` is only the beginning or a summary, so that the article is at `url`."""
    author: str = ""
    published: float | None = None
    """Seconds since 1970, UTC; when it was last changed where it does not say when it was published."""
    language: str = ""
    """ISO 639-1, empty when the feed does not say."""


class Feed(msgspec.Struct, kw_only=True, frozen=True):
    entries: list[Entry]
    """In the feed's order, each id once."""
    title: str = ""
    url: str | None = None
    """Of the site that it belongs to."""
    language: str = ""
    next_url: str | None = None
    """Where older entries stand (RFC 5005)."""


def is_feed(content: bytes, media_type: str = "") -> bool:
    """Whether this is a feed, by what it holds; its media type alone is often wrong and decides nothing."""
    head = content[:4096].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if head.startswith(b"{"):
        return b"jsonfeed.org/version" in head[:2048]
    if b"\x00" in head[:64]:
        head = head.replace(b"\x00", b"")
    root = _ROOT.search(head)
    if root is None or b"<html" in head[: root.start()].lower():
        return False
    return (
        root[1].lower() != b"feed"
        or b"Atom" in head
        or b"atom" in head
        or "atom" in media_type
        or b"<entry" in content
    )


def parse(content: bytes, url: str, *, media_type: str = "", charset: str = "") -> Feed:
    """The entries of a feed that was fetched from `url`.

    Raises UnreadableDocument for what is no feed.
    """
    if len(content) > MAX_BYTES:
        raise UnreadableDocument(f"{url} is a feed of more than {MAX_BYTES >> 20} MiB")
    if content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return _parse_json(content, url)
    return _parse_xml(content, url, media_type, charset)


def find_feeds(content: bytes, url: str, *, charset: str = "") -> list[str]:
    """The addresses of the feeds that a page names in its head, in their order."""
    tree = parse_html(content, charset)
    found: dict[str, None] = {}
    for link in tree.iter("link") if tree is not None else ():
        rel = (link.get("rel") or "").lower().split()
        kind = (link.get("type") or "").lower().partition(";")[0].strip()
        if "alternate" in rel and kind in FEED_TYPES and (address := normalize(link.get("href") or "", url)):
            found[address] = None
    return list(found)


def _parse_xml(content: bytes, url: str, media_type: str, charset: str) -> Feed:
    # It takes 0.1 s to import, and has no types.
    feedparser: Any = importlib.import_module("feedparser")
    kind = media_type or "application/xml"
    headers = {
        "content-type": f"{kind}; charset={charset}" if charset else kind,
        "content-location": url,
    }
    parsed: Any = feedparser.parse(
        # A stream: bytes might be taken for the name of a file, or for an address to fetch.
        io.BytesIO(_shorten(_ENTITY.sub(_keep_harmless, content))),
        response_headers=headers,
        # Cleaning takes quadratic time for some texts; see the module's promise.
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    if not parsed.get("version") and not parsed.entries:
        raise UnreadableDocument(f"{url} is no feed", hint="add it as a page: --kind page")
    about = parsed.feed
    language = _language(about.get("language"))
    entries = (_read_entry(entry, url, language) for entry in parsed.entries[:MAX_ENTRIES])
    following = next((link.get("href") for link in about.get("links", ()) if link.get("rel") == "next"), None)
    return Feed(
        entries=_once(entries),
        title=_title(about),
        url=normalize(about.get("link") or "", url) if about.get("link") else None,
        language=language,
        next_url=normalize(following, url) if following else None,
    )


def _keep_harmless(declaration: re.Match[bytes]) -> bytes:
    """An entity that stands for others is what bombs are made of; one that stands for a file has no value to keep."""
    value = declaration[1] if declaration[1] is not None else declaration[2]
    harmless = re.fullmatch(rb"[^&%<]{0,100}|&#\w{1,7};", value) and b"SYSTEM" not in declaration[0]
    return declaration[0] if harmless else b""


def _shorten(content: bytes) -> bytes:
    """A feed without the entries that are too many."""
    entries = _OPENING.finditer(content)
    for _ in range(MAX_ENTRIES):
        if next(entries, None) is None:
            return content
    following = next(entries, None)
    root = _ROOT.search(content)
    if following is None or root is None:
        return content
    return content[: following.start()] + _CLOSING[root[1].lower()]


def _read_entry(entry: Any, base: str, language: str) -> Entry | None:
    address = _address(entry, base)
    content = _longest(entry.get("content", ()))
    summary = _html_of(entry.get("summary_detail")) or html.escape(entry.get("summary") or "")
    body = content if _words(content) >= _words(summary) else summary
    title = _title(entry)
    # Asked by `in` first: feedparser warns where one stands in for the other.
    times = (
        entry[name] for name in ("published_parsed", "updated_parsed", "created_parsed") if name in entry
    )
    published = next((time for time in times if time), None)
    detail: Any = entry.get("title_detail")
    own_language = _language(detail.get("language")) if detail else ""
    return _make_entry(
        own_id=entry.get("id") or "",
        url=address,
        title=title,
        body=body,
        has_content=bool(content.strip()),
        author=_author(entry),
        published=_seconds(published),
        language=own_language or language,
    )


def _make_entry(
    *,
    own_id: str,
    url: str | None,
    title: str,
    body: str,
    has_content: bool,
    author: str,
    published: float | None,
    language: str,
) -> Entry | None:
    if not (url or title or body.strip()):
        return None
    digest = hashlib.sha256(f"{title}\n{body}".encode("utf-8", "replace")).hexdigest()
    return Entry(
        id=own_id.strip() or url or f"sha256:{digest}",
        url=url,
        title=title,
        content=body.strip(),
        is_summary=url is not None and not _is_whole(body, has_content),
        author=author,
        published=published,
        language=language,
    )


def _is_whole(body: str, has_content: bool) -> bool:
    """Whether a text is the article: it is long, or the feed calls it the content, and it does not break off."""
    text = _plain(body)
    if _GOES_ON.search(text[-200:]):
        return False
    words = _words(body)
    return words >= FULL_WORDS or (has_content and words >= FULL_WORDS // 4)


def _address(entry: Any, base: str) -> str | None:
    """Where the article is: what FeedBurner and others keep of it, the link, or an id that is an address."""
    candidates = [
        entry.get("feedburner_origlink"),
        entry.get("link"),
        *(link.get("href") for link in entry.get("links", ()) if link.get("rel") == "alternate"),
    ]
    for candidate in candidates:
        if candidate and (address := normalize(str(candidate), base)):
            return address
    own_id = entry.get("id") or ""
    return normalize(own_id) if own_id.lower().startswith(("http://", "https://")) else None


def _longest(contents: Any) -> str:
    return max((_html_of(content) for content in contents), key=len, default="")


def _html_of(detail: Any) -> str:
    if not detail:
        return ""
    value = str(detail.get("value") or "")
    return html.escape(value, quote=False) if detail.get("type") == "text/plain" else value


def _title(of: Any) -> str:
    detail: Any = of.get("title_detail")
    value = str(of.get("title") or "")
    if detail and detail.get("type") == "text/plain":
        # Most feeds of text escape it once too often.
        return " ".join(html.unescape(value).split())
    return _plain(value)


def _author(entry: Any) -> str:
    names = [
        _plain(author.get("name") or author.get("email")) for author in entry.get("authors", ()) if author
    ]
    known = dict.fromkeys(name for name in names if name)
    return ", ".join(known) or _plain(entry.get("author"))


def _plain(value: Any) -> str:
    """Text without tags, references and runs of spaces."""
    return " ".join(html.unescape(_TAG.sub(" ", str(value or ""))).split())


def _words(body: str) -> int:
    text = _plain(body)
    # Chinese and Japanese put no spaces: two characters stand for a word.
    dense = sum("\u3040" <= character <= "\u9fff" for character in text)
    return len(text.split()) + dense // 2


def _seconds(value: Any) -> float | None:
    """Of a time as feedparser gives it: in UTC."""
    if value is None:
        return None
    try:
        return float(calendar.timegm(value))
    except (ValueError, OverflowError, TypeError):
        return None


def _language(value: Any) -> str:
    code = re.split(r"[-_]", str(value or "").strip().lower(), maxsplit=1)[0]
    return code if len(code) == 2 and code.isascii() and code.isalpha() else ""


def _once(entries: Iterator[Entry | None]) -> list[Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry is not None:
            found.setdefault(entry.id, entry)
    return list(found.values())


def _parse_json(content: bytes, url: str) -> Feed:
    """A JSON Feed, versions 1 and 1.1; members of a wrong type are left aside."""
    try:
        decoded: Any = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableDocument(f"{url} is no JSON feed: {error}") from error
    found = cast("dict[str, Any]", decoded) if isinstance(decoded, dict) else {}
    items: Any = found.get("items")
    if not isinstance(items, list):
        raise UnreadableDocument(f"{url} is no JSON feed: it has no items")
    feed_author = _json_author(found)
    language = _language(found.get("language"))
    rows = [
        cast("dict[str, Any]", item)
        for item in cast("list[Any]", items)[:MAX_ENTRIES]
        if isinstance(item, dict)
    ]
    return Feed(
        entries=_once(_read_item(row, url, language, feed_author) for row in rows),
        title=_plain(_string(found, "title")),
        url=normalize(_string(found, "home_page_url"), url) if _string(found, "home_page_url") else None,
        language=language,
        next_url=normalize(_string(found, "next_url"), url) if _string(found, "next_url") else None,
    )


def _read_item(item: dict[str, Any], base: str, language: str, feed_author: str) -> Entry | None:
    address = _string(item, "url") or _string(item, "external_url")
    content = _string(item, "content_html") or html.escape(_string(item, "content_text"), quote=False)
    own_id = item.get("id")
    return _make_entry(
        own_id=str(own_id).replace("\x00", " ") if isinstance(own_id, str | int | float) else "",
        url=normalize(address, base) if address else None,
        title=_plain(html.escape(_string(item, "title"))),
        body=content or html.escape(_string(item, "summary"), quote=False),
        has_content=bool(content.strip()),
        author=_json_author(item) or feed_author,
        published=read_date(_string(item, "date_published") or _string(item, "date_modified")),
        language=_language(item.get("language")) or language,
    )


def _json_author(found: dict[str, Any]) -> str:
    authors: Any = found.get("authors") or [found.get("author")]
    if not isinstance(authors, list):
        return ""
    listed = [cast("dict[str, Any]", one) for one in cast("list[Any]", authors) if isinstance(one, dict)]
    return ", ".join(dict.fromkeys(name for one in listed if (name := _string(one, "name"))))


def _string(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    return value.replace("\x00", " ").strip() if isinstance(value, str) else ""
