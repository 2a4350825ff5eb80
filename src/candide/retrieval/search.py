"""A search from the question to the passages: what is asked, who finds it, and what of that is shown.

Words and vectors are searched side by side and fused; where one of them fails, the other answers alone and the outcome
says so. Libraries that are deleted are never searched. Of near-duplicates one is shown, and of each source a few
passages at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from candide.domain.messages import Message
from candide.domain.retrieval import Embedder, Filters, Found, Hit, PassageIndex, WordQuery
from candide.domain.sources import Passage, Result, Source
from candide.retrieval.candidates import Candidate, is_let_through
from candide.retrieval.followup import make_self_contained
from candide.retrieval.fusion import NEARNESS_SPAN, fuse_hits, measure_span
from candide.retrieval.goodness import Evidence, is_good, measure_coverage
from candide.retrieval.highlights import Stem, find_highlights, find_phrase
from candide.retrieval.query import Query, parse_query
from candide.retrieval.recency import value_newness, wants_news
from candide.retrieval.words import find_words, tell_language

log = logging.getLogger(__name__)

T = TypeVar("T")

DEPTH = 60
"""So many passages are asked of each part of the index, and more where more are to be shown."""
PATIENCE_S = 15.0
"""How long a part of the search may take before the others answer without it."""


class Passages(Protocol):
    """Where passages are kept with their sources; those that are gone by now are left out."""

    async def fetch_passages(self, passage_ids: Sequence[int]) -> dict[int, tuple[Source, Passage]]: ...


class Libraries(Protocol):
    async def list_names(self) -> dict[str, str]:
        """The names of the libraries that are not deleted, by id."""
        ...


class Web(Protocol):
    async def search(self, query: Query, filters: Filters) -> list[Candidate]:
        """Passages of the live web, best first, whose sources are kept by the time they are returned."""
        ...


class Retrieval:
    """Implements `candide.domain.retrieval.Retriever`.

    `is_measured` says whether the embedder is the one whose cosines were measured. Those of another order passages,
    and do not say whether the best is good enough to answer from: words alone do.
    """

    def __init__(
        self,
        index: PassageIndex,
        embedder: Embedder | None,
        passages: Passages,
        libraries: Libraries,
        *,
        stem: Stem,
        web: Web | None = None,
        is_measured: bool = True,
        judge: Callable[[Evidence], bool] = is_good,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._embedder = embedder
        self._passages = passages
        self._libraries = libraries
        self._stem = stem
        self._web = web
        self._is_measured = is_measured
        self._judge = judge
        self._clock = clock

    async def search(
        self,
        query: str,
        filters: Filters | None = None,
        *,
        limit: int = 10,
        per_source: int = 2,
        web: bool = False,
        history: Sequence[Message] = (),
    ) -> Found:
        """Find passages; see `candide.domain.retrieval.Retriever`.

        Where no library is named all are searched; with `web`, the web alone.
        """
        whole = make_self_contained(query, history)
        names = await self._libraries.list_names()
        asked = parse_query(whole, now=self._clock(), find_library=lambda name: _find_library(names, name))
        given = filters or Filters()
        narrowed = _narrow(given, asked.filters, names)
        only_web = web and not given.libraries and not asked.filters.libraries
        missing: list[str] = []
        local, from_web = await asyncio.gather(
            _nothing() if only_web else self._find(asked, narrowed, max(DEPTH, 6 * limit), missing),
            self._find_on_web(asked, narrowed, missing) if web else _nothing(),
        )
        found = [*local, *from_web]
        results = self._choose(found, whole, limit, per_source)
        return Found(
            results=[self._show(candidate, asked) for candidate in results],
            query=whole,
            filters=narrowed,
            is_good=any(map(self._judge, self._weigh(asked, results, found))),
            missing=sorted(set(missing)),
            ignored=list(dict.fromkeys(asked.ignored)),
        )

    async def _find(self, asked: Query, filters: Filters, depth: int, missing: list[str]) -> list[Candidate]:
        """What the index has, best first, without what must not be there."""
        if not filters.libraries or not find_words(asked.text):
            return []
        language = filters.languages[0] if len(filters.languages) == 1 else tell_language(asked.text)
        wanted = WordQuery(text=asked.text, phrases=asked.phrases, without=asked.without, language=language)
        by_words, by_vector = await asyncio.gather(
            self._try("words", self._index.find_words(wanted, filters, depth), missing),
            self._try("vectors", self._find_vector(asked.text, filters, depth), missing),
        )
        if asked.phrases and not by_words and "words" not in missing and asked.text not in asked.phrases:
            # A sentence that quotes what stands nowhere still asks something.
            loose = msgspec.structs.replace(asked, phrases=())
            return await self._find(loose, filters, depth, missing)
        cosines = {hit.passage_id: hit.score for hit in by_vector}
        span = NEARNESS_SPAN if self._is_measured else measure_span(by_vector)
        fused = fuse_hits(by_words, by_vector, nearness_span=span)[:depth]
        kept = await self._passages.fetch_passages([hit.passage_id for hit in fused])
        return [
            Candidate(source=source, passage=passage, score=hit.score, cosine=cosines.get(hit.passage_id))
            for hit in fused
            if (pair := kept.get(hit.passage_id)) is not None
            for source, passage in [pair]
            # What an index says of a source may be older than the source.
            if source.library_id in filters.libraries
            and is_let_through(source, filters)
            and holds_what_is_demanded(asked, source, passage)
        ]

    async def _find_vector(self, text: str, filters: Filters, depth: int) -> list[Hit]:
        if self._embedder is None:
            return []
        vector = await self._embedder.embed_query(text)
        return await self._index.find_vector(vector, filters, depth)

    async def _find_on_web(self, asked: Query, filters: Filters, missing: list[str]) -> list[Candidate]:
        if self._web is None:
            missing.append("web")
            return []
        found = await self._try("web", self._web.search(asked, filters), missing)
        return [one for one in found if holds_what_is_demanded(asked, one.source, one.passage)]

    async def _try(self, part: str, work: Awaitable[list[T]], missing: list[str]) -> list[T]:
        """What one part of the search finds; nothing, and its name in `missing`, when it fails or takes too long."""
        try:
            return await asyncio.wait_for(work, PATIENCE_S)
        except Exception as error:  # noqa: BLE001 - whatever fails in one part, the others answer
            log.warning("the search by %s failed: %s: %s", part, type(error).__name__, error)
            missing.append(part)
            return []

    def _choose(
        self, candidates: Sequence[Candidate], whole: str, limit: int, per_source: int
    ) -> list[Candidate]:
        """The best, with few of each source while others have any, and one of each group of near-duplicates."""
        ranked = list(candidates)
        if wants_news(whole):
            now = self._clock()
            ranked = [
                msgspec.structs.replace(one, score=one.score * value_newness(one.source.published, now))
                for one in ranked
            ]
        ranked.sort(key=lambda one: -one.score)
        chosen: list[Candidate] = []
        rest: list[Candidate] = []
        of_source: dict[str, int] = {}
        shown_for: dict[str, str] = {}
        for one in ranked:
            source = one.source
            # One page may stand in several libraries, and on the live web too.
            alike = (source.group_id or source.id, f"{source.uri} {source.external_id or ''}")
            if any(shown_for.get(key, source.id) != source.id for key in alike):
                continue
            shown_for.update(dict.fromkeys(alike, source.id))
            of_source[source.id] = of_source.get(source.id, 0) + 1
            (chosen if of_source[source.id] <= per_source else rest).append(one)
        # Where there are few sources, or one, theirs is the room that is left.
        return sorted([*chosen[:limit], *rest[: max(0, limit - len(chosen))]], key=lambda one: -one.score)

    def _weigh(self, asked: Query, chosen: Sequence[Candidate], found: Sequence[Candidate]) -> list[Evidence]:
        """The evidence of what the index found, and of what the live web did, which has no vectors."""
        language = tell_language(asked.text)
        every: list[Evidence] = []
        for is_live in (False, True):
            best = [one for one in chosen if one.is_live == is_live]
            if not best:
                continue
            rest = [one for one in found if one.is_live == is_live and one not in best]
            texts = [
                (f"{one.source.title} {one.passage.headings} {one.passage.text}", one.source.language)
                for one in [*best, *rest]
            ]
            nearest = max(best, key=lambda one: -1.0 if one.cosine is None else one.cosine)
            is_foreign = bool(language and nearest.source.language) and language != nearest.source.language
            coverage = measure_coverage(asked.text, texts, self._stem)
            if nearest.cosine is not None and not self._is_measured:
                # The words of another language tell nothing: the model is asked, and what it writes is checked.
                every.append(Evidence(None, 1.0 if is_foreign else coverage))
            else:
                every.append(Evidence(nearest.cosine, coverage, is_foreign))
        return every

    def _show(self, candidate: Candidate, asked: Query) -> Result:
        source, passage = candidate.source, candidate.passage
        spans = find_highlights(passage.text, asked.text, asked.phrases, self._stem, source.language)
        return Result(source=source, passage=passage, score=candidate.score, highlights=spans)


def holds_what_is_demanded(asked: Query, source: Source, passage: Passage) -> bool:
    """Whether every phrase stands in the passage, its title or headings, and nothing of what must not be there."""
    if not asked.phrases and not asked.without:
        return True
    standing = [find_words(text) for text in (passage.text, source.title, passage.headings)]
    return all(any(find_phrase(words, phrase) for words in standing) for phrase in asked.phrases) and not any(
        find_phrase(words, phrase) for words in standing for phrase in asked.without
    )


def _find_library(names: Mapping[str, str], wanted: str) -> str | None:
    """The id of the library of this name or id; case and accents do not matter."""
    folded = [word.folded for word in find_words(wanted)]
    for library_id, name in names.items():
        if library_id == wanted or (folded and [word.folded for word in find_words(name)] == folded):
            return library_id
    return None


def _narrow(given: Filters, typed: Filters, names: Mapping[str, str]) -> Filters:
    """The filters of both: what was typed stands before what was given, and of two dates the narrower holds.

    The libraries are those of them that are there, or all where none is named.
    """
    named = typed.libraries or given.libraries
    libraries = named or tuple(names)
    after = [moment for moment in (given.after, typed.after) if moment is not None]
    before = [moment for moment in (given.before, typed.before) if moment is not None]
    return Filters(
        libraries=tuple(key for key in libraries if key in names),
        sites=typed.sites or given.sites,
        languages=typed.languages or given.languages,
        media_types=typed.media_types or given.media_types,
        after=max(after, default=None),
        before=min(before, default=None),
    )


async def _nothing() -> list[Candidate]:
    return []
