"""How two ranked lists become one.

Pure functions over passages' ids and scores. The scores of words and of vectors have nothing in common, so each list
is brought to one scale before the two are added.
"""

from __future__ import annotations

from collections.abc import Sequence

from candide.domain.retrieval import Hit

WORDS_WEIGHT = 0.5
"""Of the words in the blend; the rest is the vectors'."""
RANK_OFFSET = 60
"""The k of reciprocal rank fusion."""


def fuse_hits(words: Sequence[Hit], vectors: Sequence[Hit], words_weight: float = WORDS_WEIGHT) -> list[Hit]:
    """Both lists as one, best first, with scores from 0 to 1. Where one list is empty the other decides alone.

    Each list's scores are brought to 0 for its last and 1 for its best hit, and added by weight; a passage that a list
    does not have gets 0 from it.
    """
    if not words or not vectors:
        return _scale(words or vectors)
    scores: dict[int, float] = {}
    sources: dict[int, str] = {}
    for hits, weight in ((words, words_weight), (vectors, 1 - words_weight)):
        for hit in _scale(hits):
            scores[hit.passage_id] = scores.get(hit.passage_id, 0.0) + weight * hit.score
            sources[hit.passage_id] = hit.source_id
    return _order(scores, sources)


def fuse_ranks(*lists: Sequence[Hit]) -> list[Hit]:
    """Lists as one by their ranks alone (reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009)."""
    scores: dict[int, float] = {}
    sources: dict[int, str] = {}
    for hits in lists:
        for rank, hit in enumerate(hits):
            scores[hit.passage_id] = scores.get(hit.passage_id, 0.0) + 1 / (RANK_OFFSET + rank + 1)
            sources[hit.passage_id] = hit.source_id
    return _order(scores, sources)


def _scale(hits: Sequence[Hit]) -> list[Hit]:
    if not hits:
        return []
    best, worst = max(hit.score for hit in hits), min(hit.score for hit in hits)
    span = best - worst
    return [
        Hit(hit.passage_id, hit.source_id, (hit.score - worst) / span if span > 0 else 1.0) for hit in hits
    ]


def _order(scores: dict[int, float], sources: dict[int, str]) -> list[Hit]:
    ordered = sorted(scores, key=lambda passage_id: (-scores[passage_id], passage_id))
    return [Hit(passage_id, sources[passage_id], scores[passage_id]) for passage_id in ordered]
