"""What an answer puts in quotation marks, and where the sources say it.

A quotation is verbatim when a passage holds its letters, in their order, after normalisation: typography and white
space may differ, letters and case may not. `[…]` within it leaves out what stands between two parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rapidfuzz import fuzz

from candide.citations.normalise import Normalised, normalise

NEAR = 80.0
"""How alike, of 100, a quotation and the source's words must be to be repaired from them."""
SHORT = 3
"""Words up to which what stands in quotation marks may be a term or a title."""

LONGEST = 1_500
"""Characters that a quotation may have."""

_PAIRS = {"“": "”", "«": "»", "„": "“”", "‘": "’", '"': '"', "「": "」", "『": "』", "»": "«", "‹": "›"}
_SIGN = re.compile('[“”«»„‘’"「」『』‹›]')
_GAP = re.compile(r"\s*(?:[\[(]\s*(?:…|\.\.\.)\s*[\])]|…|\.\.\.)\s*")
_WORD = re.compile(r"\w+(?:['’]\w+)?")
_TRAILING = ".,;:!?"


@dataclass(frozen=True, slots=True)
class Quotation:
    """Something in quotation marks: `[start, end)` with them, `[inner_start, inner_end)` without."""

    start: int
    end: int
    inner_start: int
    inner_end: int


def find_quotations(text: str) -> list[Quotation]:
    """The outermost quotations of a paragraph, in its order; what does not close is none."""
    found: list[Quotation] = []
    at = 0
    while sign := _SIGN.search(text, at):
        start = sign.start()
        end = _close_of(text, start)
        if end < 0:
            at = start + 1
            continue
        inner = text[start + 1 : end]
        lead = len(inner) - len(inner.lstrip())
        tail = len(inner) - len(inner.rstrip())
        if inner.strip():
            found.append(Quotation(start, end + 1, start + 1 + lead, end - tail))
        at = end + 1
    return found


def _close_of(text: str, start: int) -> int:
    sign = text[start]
    before = text[start - 1 : start]
    after = text[start + 1 : start + 2]
    if sign not in _PAIRS:
        return -1
    if sign in '"‘»' and (before.isalnum() or not after or after.isspace()):
        return -1
    depth = 1
    closers = _PAIRS[sign]
    limit = min(len(text), start + LONGEST)
    if all(text.find(closer, start + 1, limit) < 0 for closer in closers):
        return -1
    for found in _SIGN.finditer(text, start + 1, limit):
        at = found.start()
        if found[0] in closers and _closes(text, at, sign):
            depth -= 1
            if depth == 0:
                return at
        elif found[0] == sign and sign not in '"‘»':
            depth += 1
    return -1


def _closes(text: str, at: int, opener: str) -> bool:
    """Whether a sign that may be an apostrophe, or open another quotation, closes here."""
    if opener in '"‘':
        return not text[at - 1].isspace() and not text[at + 1 : at + 2].isalnum()
    return True


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a quotation that a passage holds: its span there, in characters of the passage."""

    start: int
    end: int


def parts_of(quotation: str) -> list[str]:
    """What stands between the ellipses of a quotation, in its compared form."""
    return [part for piece in _GAP.split(quotation) if (part := normalise(piece).text)]


def locate(parts: list[str], passage: Normalised) -> list[Part] | None:
    """Where a passage holds every part, in order and of whole words; None when it does not."""
    found: list[Part] = []
    at = 0
    for part in parts:
        at = _find_words(part, passage.text, at)
        if at < 0:
            return None
        found.append(Part(*passage.span(at, at + len(part))))
        at += len(part)
    return found or None


def _find_words(part: str, text: str, at: int) -> int:
    while (at := text.find(part, at)) >= 0:
        if is_whole(text, at, at + len(part)):
            return at
        at += 1
    return -1


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether no word is cut at either end."""
    cut_before = (
        start > 0 and text[start - 1].isalnum() and text[start].isalnum() and not _is_cjk(text[start])
    )
    cut_after = end < len(text) and text[end - 1].isalnum() and text[end].isalnum() and not _is_cjk(text[end])
    return not (cut_before or cut_after)


def _is_cjk(sign: str) -> bool:
    """Whether it is of a script that sets no space between words."""
    return "\u3040" <= sign <= "\u9fff" or "\u0e00" <= sign <= "\u0eff"


def locate_near(part: str, passage: Normalised) -> tuple[float, Part] | None:
    """Where a passage says nearly what a part of a quotation says, and how nearly, of 100; None when nowhere."""
    alignment = fuzz.partial_ratio_alignment(part.lower(), passage.text.lower(), score_cutoff=NEAR - 10)
    if alignment is None or alignment.dest_end <= alignment.dest_start or len(passage.text) < len(part) // 2:
        return None
    start, end = _whole_words(passage.text, alignment.dest_start, alignment.dest_end)
    if start >= end:
        return None
    score = fuzz.ratio(part.lower(), passage.text[start:end].lower())
    return (score, Part(*passage.span(start, end))) if score >= NEAR else None


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The span drawn to the nearest ends of words, without white space or stray punctuation at them."""
    while start < end and not text[start].isalnum():
        start += 1
    while start > 0 and text[start - 1].isalnum() and text[start].isalnum() and not _is_cjk(text[start]):
        start -= 1
    while end < len(text) and text[end - 1].isalnum() and text[end].isalnum() and not _is_cjk(text[end]):
        end += 1
    while end > start and text[end - 1] in " ,;:-(\"'":
        end -= 1
    return start, end


def count_words(text: str) -> int:
    """Words, or what may be two signs of a script without spaces."""
    words = _WORD.findall(text)
    return sum(max(1, len(word) // 2) if _is_cjk(word[0]) else 1 for word in words)
