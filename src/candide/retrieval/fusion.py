"""How two ranked lists become one.

Pure functions over passages' ids and scores. The scores of words and of vectors have nothing in common, so each list
is brought to one scale before the two are added. The scale and the weight are those that stood above both lists, in
French, in English and where question and passage have two languages (`make eval`); ranks alone did not.
"""

from __future__ import annotations

from collections.abc import Sequence

from candide.domain.retrieval import Hit

WORDS_WEIGHT = 0.4
"""Of the words in the blend; the rest is the vectors'. With more, words that two languages share lead astray."""
NEARNESS_SPAN = 0.06
"""A cosine so much below the best counts for nothing; of multilingual-e5-small, which has all texts near each other."""
RANK_OFFSET = 60
"""The k of reciprocal rank fusion."""


def measure_span(vectors: Sequence[Hit]) -> float:
    """A span for cosines of which nothing is known: from the best of them to the last."""
    scores = [hit.score for hit in vectors]
    return max(scores, default=0.0) - min(scores, default=0.0) or 1.0


def fuse_hits(
    words: Sequence[Hit],
    vectors: Sequence[Hit],
    words_weight: float = WORDS_WEIGHT,
    nearness_span: float = NEARNESS_SPAN,
) -> list[Hit]:
    """Both lists as one, best first, with scores from 0 to 1. Where one list is empty the other decides alone.

    Words count by their part of the best score, vectors by how far below the best cosine they are. A passage that a
    list does not have gets 0 from it.
    """
    best_words = max((hit.score for hit in words), default=0.0)
    best_cosine = max((hit.score for hit in vectors), default=0.0)
    scaled_words = [
        Hit(hit.passage_id, hit.source_id, hit.score / best_words if best_words > 0 else 1.0) for hit in words
    ]
    scaled_vectors = [
        Hit(hit.passage_id, hit.source_id, max(0.0, 1.0 - (best_cosine - hit.score) / nearness_span))
        for hit in vectors
    ]
    if not words or not vectors:
        words_weight = 1.0 if words else 0.0
    scores: dict[int, float] = {}
    sources: dict[int, str] = {}
    for hits, weight in ((scaled_words, words_weight), (scaled_vectors, 1 - words_weight)):
        for hit in hits:
            scores[hit.passage_id] = scores.get(hit.passage_id, 0.0) + weight * hit.score
            sources[hit.passage_id] = hit.source_id
    # What came after the span is still in the order that it came in.
    places = {hit.passage_id: place for place, hit in enumerate([*words, *vectors])}
    ordered = sorted(scores, key=lambda passage_id: (-scores[passage_id], places[passage_id]))
    return [Hit(passage_id, sources[passage_id], scores[passage_id]) for passage_id in ordered]


def fuse_ranks(*lists: Sequence[Hit]) -> list[Hit]:
    """Lists as one by their ranks alone (reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009)."""
    scores: dict[int, float] = {}
    sources: dict[int, str] = {}
    for hits in lists:
        for rank, hit in enumerate(hits):
            scores[hit.passage_id] = scores.get(hit.passage_id, 0.0) + 1 / (RANK_OFFSET + rank + 1)
            sources[hit.passage_id] = hit.source_id
    ordered = sorted(scores, key=lambda passage_id: (-scores[passage_id], passage_id))
    return [Hit(passage_id, sources[passage_id], scores[passage_id]) for passage_id in ordered]
