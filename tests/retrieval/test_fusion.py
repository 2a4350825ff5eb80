"""Two ranked lists as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candide.domain.retrieval import Hit
from candide.retrieval.fusion import fuse_hits, fuse_ranks, measure_span


def make_hits(scores: dict[int, float]) -> list[Hit]:
    return [
        Hit(number, f"source_{number}", scores[number]) for number in sorted(scores, key=lambda n: -scores[n])
    ]


WORDS = st.dictionaries(st.integers(0, 30), st.floats(0.01, 90.0), max_size=20).map(make_hits)
VECTORS = st.dictionaries(st.integers(0, 30), st.floats(-1.0, 1.0), max_size=20).map(make_hits)


@given(WORDS, VECTORS)
def test_each_passage_is_there_once_best_first_with_scores_up_to_one(
    words: list[Hit], vectors: list[Hit]
) -> None:
    for fused in (fuse_hits(words, vectors), fuse_ranks(words, vectors)):
        ids = [hit.passage_id for hit in fused]
        assert sorted(ids) == sorted({hit.passage_id for hit in (*words, *vectors)})
        scores = [hit.score for hit in fused]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)


@given(WORDS, VECTORS)
def test_where_one_list_is_empty_the_other_keeps_its_order(words: list[Hit], vectors: list[Hit]) -> None:
    assert [hit.passage_id for hit in fuse_hits(words, [])] == [hit.passage_id for hit in words]
    assert [hit.passage_id for hit in fuse_hits([], vectors)] == [hit.passage_id for hit in vectors]


def test_what_both_lists_have_stands_above_what_one_has() -> None:
    words = make_hits({1: 9.0, 2: 8.0, 3: 1.0})
    vectors = make_hits({4: 0.88, 2: 0.87, 5: 0.80})
    assert fuse_hits(words, vectors)[0].passage_id == 2
    assert fuse_ranks(words, vectors)[0].passage_id == 2


def test_words_that_hardly_match_do_not_lead_astray() -> None:
    words = make_hits({number: 2.0 - number / 100 for number in range(10)})
    vectors = make_hits({50: 0.91, 51: 0.83})
    assert fuse_hits(words, vectors)[0].passage_id == 50


def test_cosines_of_an_unknown_model_count_from_the_best_to_the_last() -> None:
    words = make_hits({3: 9.0})
    vectors = make_hits({1: 0.6, 2: 0.5, 3: 0.1})
    fused = fuse_hits(words, vectors, nearness_span=measure_span(vectors))
    assert [hit.passage_id for hit in fused] == [1, 2, 3]
    assert measure_span([]) == measure_span(vectors[:1]) == 1.0
