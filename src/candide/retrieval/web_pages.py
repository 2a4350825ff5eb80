"""The live web as a part of the search: an engine is asked, the pages that it names are read, and become sources.

A source of the web is like any other: its text is kept, so that what was cited can be shown when the page has changed.
It is kept in a library of its own and is not indexed; what is shown of it is chosen while it is read. Pages that
cannot be read in time are left out: what an engine says of a page is no source.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from candide.domain.retrieval import Filters
from candide.domain.sources import WEB_LIBRARY, Cut, Document, Known, Library, NewSource, Passage, Source
from candide.errors import FetchError, SourceError
from candide.retrieval.candidates import Candidate, is_let_through
from candide.retrieval.highlights import Stem
from candide.retrieval.query import Query
from candide.retrieval.web import WebHit, WebSearch
from candide.retrieval.words import content_words, find_words, tell_language

log = logging.getLogger(__name__)

PAGES = 6
"""So many pages are read for a question."""
ASKED_HITS = 10
READING_S = 8.0
"""So long pages are waited for; those that are there by then are used."""
SNIPPET_WEIGHT = 0.3
"""What a word of the engine's snippet counts for, beside those of the question: it tells where on the page to look."""
RANK_WEIGHT = 0.25
"""Of the engine's order in the score; the rest is the words'."""

ReadPage = Callable[[str], Awaitable[Document]]
"""Fetches a page and extracts its text; raises SourceError."""
Split = Callable[[Document], list[Cut]]


class Keeper(Protocol):
    """Where sources are kept."""

    async def keep(self, library_id: str, new: Sequence[NewSource]) -> object: ...

    async def find_known(self, library_id: str, keys: Sequence[str]) -> Mapping[str, Known]: ...

    async def get(self, source_id: str) -> Source: ...


class LibraryMaker(Protocol):
    async def find_or_create(self, name: str) -> Library: ...


class WebPages:
    def __init__(
        self,
        search: WebSearch,
        read_page: ReadPage,
        split: Split,
        sources: Keeper,
        libraries: LibraryMaker,
        *,
        stem: Stem,
        reading_s: float = READING_S,
    ) -> None:
        self._search = search
        self._read_page = read_page
        self._split = split
        self._sources = sources
        self._libraries = libraries
        self._stem = stem
        self._reading_s = reading_s

    async def search(self, query: Query, filters: Filters) -> list[Candidate]:
        """The passages of the pages that an engine finds, best first.

        Raises FetchError when the engine fails, or none of its pages can be read.
        """
        hits = await self._search.find(
            spell_query(query, filters), language=_language(query, filters), limit=ASKED_HITS
        )
        read = await self._read(hits[:PAGES])
        if hits and not read:
            raise FetchError("none of the pages that were found could be read", is_passing=True)
        kept = await self._keep(read)
        passages = [
            (hit, source, passage)
            for hit, document, source in kept
            if is_let_through(source, filters)
            for passage in self._cut(source, document)
        ]
        return self._rank(query, [hit.url for hit in hits], passages)

    async def _read(self, hits: Sequence[WebHit]) -> list[tuple[WebHit, Document]]:
        tasks = {asyncio.create_task(self._read_one(hit)): hit for hit in hits}
        if not tasks:
            return []
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._reading_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        read = [(hit, task.result()) for task, hit in tasks.items() if task in done]
        return [(hit, document) for hit, document in read if document is not None]

    async def _read_one(self, hit: WebHit) -> Document | None:
        try:
            document = await self._read_page(hit.url)
        except SourceError as error:
            log.info("the page %s is left out: %s", hit.url, error.message)
            return None
        if document.published is None:
            document.published = hit.published
        if not document.title:
            document.title = hit.title
        return document if document.text.strip() else None

    async def _keep(self, read: Sequence[tuple[WebHit, Document]]) -> list[tuple[WebHit, Document, Source]]:
        if not read:
            return []
        library = await self._libraries.find_or_create(WEB_LIBRARY)
        new = [
            NewSource(
                key=hit.url,
                uri=hit.url,
                kind="page",
                media_type="text/html",
                document=document,
                # It stays out of the indexes: embedding pages would take the cores that the answer needs.
                cuts=[],
                content_hash=hashlib.sha256(f"{document.title}\n{document.text}".encode()).hexdigest(),
            )
            for hit, document in read
        ]
        await self._sources.keep(library.id, new)
        known = await self._sources.find_known(library.id, [hit.url for hit, _ in read])
        return [
            (hit, document, await self._sources.get(known[hit.url].source_id))
            for hit, document in read
            if hit.url in known
        ]

    def _cut(self, source: Source, document: Document) -> list[Passage]:
        return [
            Passage(
                # Passages that are not indexed have no number of their own.
                id=0,
                source_id=source.id,
                start=cut.start,
                end=cut.end,
                text=document.text[cut.start : cut.end],
                headings=cut.headings,
                page=cut.page,
            )
            for cut in self._split(document)
        ]

    def _rank(
        self, query: Query, urls: Sequence[str], passages: Sequence[tuple[WebHit, Source, Passage]]
    ) -> list[Candidate]:
        """By BM25 among these passages, with the words of the snippets at less, and by the engine's order."""
        texts = [
            Counter(
                self._stem(word.text, source.language)
                for word in find_words(f"{source.title} {passage.text}")
            )
            for _, source, passage in passages
        ]
        rarity = Counter(word for words in texts for word in words)
        length = sum(words.total() for words in texts) / max(1, len(texts))
        scores: list[float] = []
        for (hit, source, _), words in zip(passages, texts, strict=True):
            weights = {
                self._stem(word.text, source.language): SNIPPET_WEIGHT for word in content_words(hit.snippet)
            }
            weights.update(
                {self._stem(word.text, source.language): 1.0 for word in content_words(query.text)}
            )
            score = 0.0
            for word, weight in weights.items():
                if count := words[word]:
                    idf = math.log(1 + (len(texts) - rarity[word] + 0.5) / (rarity[word] + 0.5))
                    score += (
                        weight * idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * words.total() / length))
                    )
            scores.append(score)
        best = max(scores, default=0.0) or 1.0
        ranks = {url: 1 - n / len(urls) for n, url in enumerate(urls)}
        ranked = [
            Candidate(
                source=source,
                passage=passage,
                score=(1 - RANK_WEIGHT) * score / best + RANK_WEIGHT * ranks[hit.url],
                is_live=True,
            )
            for (hit, source, passage), score in zip(passages, scores, strict=True)
            if score > 0
        ]
        return sorted(ranked, key=lambda one: -one.score)


def spell_query(query: Query, filters: Filters) -> str:
    """The query as search engines read it, with the operators that they have in common."""
    words = query.text
    for phrase in query.phrases:
        words = words.replace(phrase, f'"{phrase}"', 1)
    excluded = [f'-"{word}"' if " " in word else f"-{word}" for word in query.without]
    sites = " OR ".join(f"site:{site}" for site in filters.sites)
    return " ".join(part for part in (words, *excluded, sites) if part)


def _language(query: Query, filters: Filters) -> str:
    return filters.languages[0] if len(filters.languages) == 1 else tell_language(query.text)
