"""Search engines of the live web behind one protocol: SearXNG, Brave, Tavily.

An engine gives addresses with titles and snippets, and nothing of that is believed: what is no address of a page is
dropped, and what an answer may cite is read from the page itself (`web_pages.py`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, cast
from urllib.parse import urldefrag, urlsplit

import aiohttp
import msgspec

from candide.errors import FetchError

TIMEOUT_S = 8.0
MAX_REPLY_BYTES = 4 * 2**20
MAX_URL_CHARS = 2000
MAX_TEXT_CHARS = 2000
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class WebHit(msgspec.Struct, kw_only=True, frozen=True):
    """A page, as a search engine describes it."""

    url: str
    title: str = ""
    snippet: str = ""
    published: float | None = None


class WebSearch(Protocol):
    async def find(self, query: str, *, language: str = "", limit: int = 10) -> list[WebHit]:
        """The engine's best pages, best first; `language` is ISO 639-1, empty when unknown. Raises FetchError."""
        ...

    async def close(self) -> None: ...


class SearXNG:
    """An instance of SearXNG at `url`; its settings must allow `json` among `search.formats`."""

    def __init__(self, url: str) -> None:
        self._http = _Http("SearXNG", f"{url.rstrip('/').removesuffix('/search')}/search")

    async def find(self, query: str, *, language: str = "", limit: int = 10) -> list[WebHit]:
        params = {"q": query, "format": "json", "language": language or "auto"}
        reply = await self._http.ask("GET", params=params, hints={403: _ALLOW_JSON, 404: _ALLOW_JSON})
        return _read_hits(reply.get("results"), limit, snippet="content", published=("publishedDate",))

    async def close(self) -> None:
        await self._http.close()


class Brave:
    """Brave's Web Search API."""

    def __init__(self, key: str, url: str = "") -> None:
        self._http = _Http("Brave", url or "https://api.search.brave.com/res/v1/web/search")
        self._headers = {"X-Subscription-Token": key}

    async def find(self, query: str, *, language: str = "", limit: int = 10) -> list[WebHit]:
        params = {"q": query, "count": str(min(limit, 20)), "text_decorations": "false"}
        if language:
            params["search_lang"] = language
        reply = await self._http.ask("GET", params=params, headers=self._headers)
        web = reply.get("web")
        results = cast("dict[str, Any]", web).get("results") if isinstance(web, dict) else None
        return _read_hits(results, limit, snippet="description", published=("page_age", "age"))

    async def close(self) -> None:
        await self._http.close()


class Tavily:
    """Tavily's Search API."""

    def __init__(self, key: str, url: str = "") -> None:
        self._http = _Http("Tavily", url or "https://api.tavily.com/search")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def find(self, query: str, *, language: str = "", limit: int = 10) -> list[WebHit]:
        body = {"query": query, "max_results": min(limit, 20), "search_depth": "basic"}
        reply = await self._http.ask("POST", body=body, headers=self._headers)
        return _read_hits(reply.get("results"), limit, snippet="content", published=("published_date",))

    async def close(self) -> None:
        await self._http.close()


_ALLOW_JSON = "add 'json' to search.formats in its settings.yml"


class _Http:
    """One engine's address; whatever it does becomes an object of JSON or a FetchError."""

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        hints: Mapping[int, str] | None = None,
    ) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.request(
                method,
                self._url,
                params=params,
                json=body,
                headers={"Accept": "application/json", **(headers or {})},
                # A key is for the address that was named.
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise self._refusal(response.status, response.headers, hints or {})
                content = bytearray()
                async for piece in response.content.iter_any():
                    content += piece
                    if len(content) > MAX_REPLY_BYTES:
                        raise FetchError(f"{self._name} answered with more than {MAX_REPLY_BYTES} bytes")
        except TimeoutError as error:
            raise FetchError(
                f"{self._name} did not answer within {TIMEOUT_S:.0f} s", is_passing=True
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchError(f"{self._name} cannot be asked: {error}", is_passing=True) from error
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise FetchError(
                f"{self._name} answered with no JSON of results", hint=(hints or {}).get(403)
            ) from error

    def _refusal(self, status: int, headers: Mapping[str, str], hints: Mapping[int, str]) -> FetchError:
        after = headers.get("Retry-After", "")
        hint = hints.get(status) or ("check the setting web_search_key" if status in (401, 403) else None)
        return FetchError(
            f"{self._name} answered {status}",
            hint=hint,
            is_passing=status == 429 or status >= 500,
            retry_after=float(after) if after.isascii() and after.isdigit() else None,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _read_hits(results: Any, limit: int, *, snippet: str, published: Sequence[str]) -> list[WebHit]:
    """What of an engine's results names a page, each page once."""
    hits: dict[str, WebHit] = {}
    for result in cast("list[Any]", results) if isinstance(results, list) else []:
        if not isinstance(result, dict):
            continue
        members = cast("dict[str, Any]", result)
        url = _read_url(members.get("url"))
        if url is None or url in hits:
            continue
        dates = (_read_moment(members.get(name)) for name in published)
        hits[url] = WebHit(
            url=url,
            title=_read_text(members.get("title")),
            snippet=_read_text(members.get(snippet)),
            published=next((moment for moment in dates if moment is not None), None),
        )
        if len(hits) == limit:
            break
    return list(hits.values())


def _read_url(value: Any) -> str | None:
    """The address of a page, without its fragment."""
    if not isinstance(value, str) or len(value) > MAX_URL_CHARS or re.search(r"[\s\x00-\x1f]", value.strip()):
        return None
    url = urldefrag(value.strip()).url
    try:
        parts = urlsplit(url)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return None
    return url if is_page else None


def _read_text(value: Any) -> str:
    """Plain text of what may hold tags and entities."""
    if not isinstance(value, str):
        return ""
    return " ".join(_UNSHOWN.sub(" ", html.unescape(_TAG.sub("", value[: 4 * MAX_TEXT_CHARS]))).split())[
        :MAX_TEXT_CHARS
    ]


def _read_moment(value: Any) -> float | None:
    """Seconds since 1970 of an ISO 8601 date, or of one as HTTP writes it."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, IndexError, OverflowError):
            return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except (OverflowError, ValueError):
        return None
