"""Texts that are nearly the same have nearly the same fingerprint (SimHash: Charikar 2002; Manku and others 2007).

A fingerprint is 64 bits, those of two texts that share most of their pairs of words differ in few. `Duplicates` finds
the near ones among millions by bands: of two that differ in at most MAX_DISTANCE bits, at least one band is the same.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from collections import Counter
from itertools import islice, pairwise

MAX_DISTANCE = 4
MIN_WORDS = 30
"""Texts with fewer words are like others by chance: a list of links, an empty page of a shop."""
MAX_WORDS = 20_000
"""The words that the fingerprint of a long text is made of."""

_WORDS = re.compile(r"[^\W_]+")
_BITS = (13, 13, 13, 13, 12)
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def fingerprint(text: str) -> int | None:
    """The fingerprint of a text, signed, so that a database's integer holds it; None where the text is too short.

    Case, punctuation and white space do not matter.
    """
    import numpy as np

    text = unicodedata.normalize("NFKC", text[: MAX_WORDS * 40]).casefold()
    # A character is a word where words have no spaces between them.
    words = _WORDS.findall(_SPACELESS.sub(r" \g<0> ", text) if _SPACELESS.search(text) else text)
    if len(words) < MIN_WORDS:
        return None
    pairs = Counter(f"{one} {other}" for one, other in pairwise(islice(words, MAX_WORDS)))
    digests = b"".join(
        hashlib.blake2b(pair.encode("utf-8", "surrogatepass"), digest_size=8).digest() for pair in pairs
    )
    bits = np.unpackbits(np.frombuffer(digests, dtype=np.uint8).reshape(-1, 8), axis=1).astype(np.float32)
    # What stands in a text a hundred times does not count a hundred times.
    weights = np.sqrt(np.fromiter(pairs.values(), dtype=np.float32, count=len(pairs)))
    sums = (bits * 2 - 1).T @ weights
    return int.from_bytes(np.packbits(sums > 0).tobytes(), signed=True)


class Duplicates:
    """The groups of a library's fingerprints, in memory: some 100 bytes for each, without the groups' ids."""

    def __init__(self) -> None:
        self._fingerprints = array("Q")
        self._groups: list[str] = []
        self._bands: list[dict[int, array[int]]] = [{} for _ in _BITS]

    def __len__(self) -> int:
        return len(self._fingerprints)

    def find(self, fingerprint: int) -> str | None:
        """The group of the nearest fingerprint that is near enough, None where there is none."""
        wanted = fingerprint & 0xFFFFFFFFFFFFFFFF
        best, best_distance = -1, MAX_DISTANCE + 1
        for band, value in zip(self._bands, _split(wanted), strict=True):
            for index in band.get(value, ()):
                distance = (self._fingerprints[index] ^ wanted).bit_count()
                if distance < best_distance or (distance == best_distance and index < best):
                    best, best_distance = index, distance
            if best_distance == 0:
                break
        return self._groups[best] if best >= 0 else None

    def add(self, fingerprint: int, group_id: str) -> None:
        """Keep a fingerprint as one of a group."""
        index = len(self._fingerprints)
        value = fingerprint & 0xFFFFFFFFFFFFFFFF
        self._fingerprints.append(value)
        self._groups.append(group_id)
        for band, part in zip(self._bands, _split(value), strict=True):
            found = band.get(part)
            if found is None:
                band[part] = array("I", (index,))
            else:
                found.append(index)


def _split(value: int) -> list[int]:
    parts: list[int] = []
    for bits in _BITS:
        parts.append(value & ((1 << bits) - 1))
        value >>= bits
    return parts
