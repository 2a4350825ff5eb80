from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from candide.ingestion.duplicates import MAX_DISTANCE, Duplicates, fingerprint

NAMES = [
    "garden",
    "stone",
    "river",
    "letter",
    "market",
    "winter",
    "engine",
    "copper",
    "window",
    "island",
    "mirror",
    "harvest",
    "candle",
    "bridge",
]
TEXT = " ".join(f"The {a} of the {b} was there before the {c}." for a in NAMES for b, c in pairwise(NAMES))


def distance(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return ((one ^ other) & 0xFFFFFFFFFFFFFFFF).bit_count()


def test_the_same_words_have_the_same_fingerprint() -> None:
    assert fingerprint(TEXT) == fingerprint(TEXT.upper().replace(" ", "\n\n").replace(".", " !"))


def test_a_text_with_few_changes_is_near() -> None:
    changed = TEXT.replace("copper of the window", "copper of the door").replace("winter", "summer", 1)
    assert 0 <= distance(fingerprint(TEXT), fingerprint(changed)) <= MAX_DISTANCE


def test_another_text_is_far() -> None:
    words = TEXT.split()
    random.Random(3).shuffle(words)
    assert distance(fingerprint(TEXT), fingerprint(" ".join(words))) > 2 * MAX_DISTANCE


def test_a_short_text_has_none() -> None:
    assert fingerprint("Page not found") is None
    assert fingerprint("") is None
    assert fingerprint("東京都は日本の首都である。" * 4) is not None


@given(st.text(max_size=500))
@settings(deadline=None)
def test_it_fits_a_databases_integer(text: str) -> None:
    value = fingerprint(text * 10)
    assert value is None or -(2**63) <= value < 2**63


@given(
    value=st.integers(-(2**63), 2**63 - 1),
    others=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20),
    bits=st.sets(st.integers(0, 63), max_size=MAX_DISTANCE),
)
@settings(deadline=None)
def test_a_near_fingerprint_is_found_among_others(value: int, others: list[int], bits: set[int]) -> None:
    near = value & 0xFFFFFFFFFFFFFFFF
    for bit in bits:
        near ^= 1 << bit
    near = near - 2**64 if near >= 2**63 else near
    duplicates = Duplicates()
    assert duplicates.find(near) is None
    for index, other in enumerate(others):
        duplicates.add(other, f"other {index}")
    duplicates.add(value, "the one")
    found = duplicates.find(near)
    known = {f"other {index}": other for index, other in enumerate(others)} | {"the one": value}
    assert found is not None
    assert distance(known[found], near) == min(distance(other, near) for other in known.values())
    assert len(duplicates) == len(others) + 1


def test_a_far_fingerprint_is_not_found() -> None:
    duplicates = Duplicates()
    duplicates.add(0, "zero")
    assert duplicates.find(2**8 - 1) is None
    assert duplicates.find(2**7 - 1) == "zero"
