"""Ids sort by the time of their making, also those of one millisecond."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from candide.domain.ids import new_id


def test_ids_are_made_in_ascending_order() -> None:
    ids = [new_id("msg") for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_of_several_threads_differ() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [i for batch in pool.map(lambda _: [new_id("x") for _ in range(500)], range(8)) for i in batch]
    assert len(set(made)) == 4000


def test_an_id_is_a_prefix_and_26_characters_of_crockfords_base_32() -> None:
    assert re.fullmatch(r"turn_[0-9a-hjkmnp-tv-z]{26}", new_id("turn"))
