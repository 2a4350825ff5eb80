"""A text is cut into passages of about a hundred words, where its author would cut it.

Passages follow each other without overlap and hold every character of the text that is not white space; none begins or
ends with white space. They end with pages, headings, paragraphs, rows, sentences, in this order of preference, and a
heading is never the end of one. The time is linear in the text's length, whatever the text.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from candide.domain.sources import Cut, Document, Section

WORDS = 120
SMALL = 0.35
"""A passage with less than this part of the words wanted takes in what comes next, or is taken in, up to LARGE."""
LARGE = 1.4
OUTER_LEVEL = 2
"""A heading of this level or an outer one begins a passage."""
CHARACTERS_A_WORD = 12
"""What has more characters than this a word is counted by them: addresses, code, languages of long words."""

_BLOCK = re.compile(r"\S.*?(?=\n[^\S\n]*\n|\Z)", re.DOTALL)
_LINE = re.compile(r"[^\n]*\S[^\n]*")
_WORD = re.compile(r"\S+")
_STRUCTURED = re.compile(r"\s*(?:[-*•–‣▪]|\d{1,4}[.)])\s|[^\n]* \| ")
# The end of a sentence: its mark, what closes behind it, and a space, which the scripts of East Asia go without.
_SENTENCE_END = re.compile(r"[.!?…]['\"”’»)\]]{0,3}\s+|[。！？｡؟।។၊။]['\"”’»」』）]{0,3}\s*")
_NO_END = re.compile(
    r"(?:^|[\s('«“\"])(?:\w|\d{1,3}|MM|Mme|Mlle|Mr|Mrs|Ms|Dr|Pr|St|Ste|No|Nr|vs|cf|p|pp|art|al|e\.g|i\.e|z\.B|bzw|ca|approx|fig|Fig|vol|éd|av|env|Inc|Ltd|Co|Jr|Sr|Prof|Gen|Sen|Gov)\.\Z"
)
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


class _Unit:
    """A piece of the text that stays whole: a block, a row, a sentence, or a part of one."""

    __slots__ = ("begins", "cost", "end", "is_heading", "start")

    def __init__(self, start: int, end: int, cost: float, begins: bool, is_heading: bool) -> None:
        self.start = start
        self.end = end
        self.cost = cost
        self.begins = begins
        """Whether a block begins with it."""
        self.is_heading = is_heading


def split(document: Document, words: int = WORDS) -> list[Cut]:
    """The passages of a document, in order, of about `words` words; two characters count as a word where words have
    no spaces between them. A document without text has none.
    """
    text = document.text
    paths = _Headings(document.sections)
    cuts: list[Cut] = []
    for start, end, page in _find_segments(document):
        for first, last, body in _pack(list(_find_units(text, start, end, words, paths)), words, paths):
            cuts.append(Cut(first, last, paths.path_at(body), page))
    return cuts


class _Headings:
    """The headings of a document, by where one is in its text."""

    def __init__(self, sections: list[Section]) -> None:
        self._starts = [section.start for section in sections]
        self._paths: list[str] = []
        self.levels: dict[int, int] = {}
        stack: list[Section] = []
        for section in sections:
            while stack and stack[-1].level >= section.level:
                stack.pop()
            stack.append(section)
            self._paths.append(" › ".join(one.heading for one in stack))
            self.levels[section.start] = section.level
        self.ends = {section.start: section.start + len(section.heading) for section in sections}

    def path_at(self, position: int) -> str:
        index = bisect_right(self._starts, position) - 1
        return self._paths[index] if index >= 0 else ""


def _find_segments(document: Document) -> Iterator[tuple[int, int, int | None]]:
    """Spans that no passage goes beyond, and their pages: they begin with pages and with outer headings.

    A heading with nothing under it but the next heading begins one together with that.
    """
    length = len(document.text)
    pages = [min(start, length) for start in document.pages]
    borders = set(pages) | {0, length}
    previous_end, is_open = -1, False
    for section in document.sections:
        follows = is_open and not document.text[previous_end : section.start].strip()
        if section.level <= OUTER_LEVEL and not follows:
            borders.add(section.start)
        previous_end, is_open = section.start + len(section.heading), follows or section.level <= OUTER_LEVEL
    ordered = sorted(borders)
    for start, end in pairwise(ordered):
        page = bisect_right(pages, start) if pages else None
        yield start, end, max(page, 1) if page is not None else None


def _find_units(text: str, start: int, end: int, words: int, headings: _Headings) -> Iterator[_Unit]:
    for block in _BLOCK.finditer(text, start, end):
        first, last = block.start(), block.start() + len(block.group().rstrip())
        is_heading = first in headings.levels and last <= headings.ends[first]
        cost = _count(text[first:last])
        if cost <= words:
            yield _Unit(first, last, cost, True, is_heading)
            continue
        begins = True
        for part_start, part_end in _find_parts(text, first, last):
            cost = _count(text[part_start:part_end])
            if cost <= words:
                yield _Unit(part_start, part_end, cost, begins, False)
                begins = False
                continue
            for piece_start, piece_end, piece_cost in _find_pieces(text, part_start, part_end, words):
                yield _Unit(piece_start, piece_end, piece_cost, begins, False)
                begins = False


def _find_parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The rows, items or sentences of a block."""
    if not _STRUCTURED.match(text, start, end):
        yield from _find_sentences(text, start, end)
        return
    for line in _LINE.finditer(text, start, end):
        first = line.end() - len(line.group().lstrip())
        last = line.start() + len(line.group().rstrip())
        yield from _find_sentences(text, first, last) if last - first > 600 else ((first, last),)


def _find_sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    first = start
    for match in _SENTENCE_END.finditer(text, start, end):
        mark = match.start()
        if text[mark] == "." and _NO_END.search(text, max(first, mark - 12), mark + 1):
            continue
        if match.end() >= end:
            break
        yield first, match.start() + len(match.group().rstrip())
        first = match.end()
    last = first + len(text[first:end].rstrip())
    if last > first:
        yield first, last


def _find_pieces(text: str, start: int, end: int, words: int) -> Iterator[tuple[int, int, float]]:
    """Runs of words of a sentence that is too long; a word that is too long itself is cut between characters."""
    for run in _find_run(words).finditer(text, start, end):
        cost = _count(run.group())
        if cost <= words:
            yield run.start(), run.end(), cost
        else:
            yield from _cut_run(text, run.start(), run.end(), words)


@functools.cache
def _find_run(words: int) -> re.Pattern[str]:
    return re.compile(rf"\S+(?:\s+\S+){{0,{max(words - 1, 0)}}}")


def _cut_run(text: str, start: int, end: int, words: int) -> Iterator[tuple[int, int, float]]:
    """The same of a run in which words are worth several."""
    first, last, cost = start, start, 0.0
    for word in _WORD.finditer(text, start, end):
        weight = _count(word.group())
        if cost and cost + weight > words:
            yield first, last, cost
            cost = 0.0
        if not cost:
            first = word.start()
        if weight <= words:
            cost += weight
            last = word.end()
            continue
        yield from _cut_word(
            text, word.start(), word.end(), max(1, int((word.end() - word.start()) * words / weight))
        )
        cost = 0.0
    if cost:
        yield first, last, cost


def _cut_word(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int, float]]:
    while start < end:
        stop = min(start + size, end)
        limit = min(stop + 16, end)
        # A mark belongs to the letter before it.
        while stop < limit and unicodedata.combining(text[stop]):
            stop += 1
        yield start, stop, _count(text[start:stop])
        start = stop


def _count(text: str) -> float:
    """How many words a text is worth."""
    words = float(len(text.split()))
    if not text.isascii():
        words += len(_SPACELESS.findall(text)) / 2
    return max(words, len(text) / CHARACTERS_A_WORD)


def _pack(units: list[_Unit], words: int, headings: _Headings) -> Iterator[tuple[int, int, int]]:
    """Runs of units: where each begins and ends, and where its text under its headings begins."""
    runs: list[tuple[int, int, float]] = []
    first, cost = 0, 0.0
    for index, unit in enumerate(units):
        is_full = cost + unit.cost > words and not (
            cost < words * SMALL and cost + unit.cost <= words * LARGE
        )
        begins_section = unit.is_heading and cost >= words / 2
        if index > first and (is_full or begins_section):
            stop = index
            while stop > first and units[stop - 1].is_heading:
                stop -= 1
            if stop > first:
                runs.append((first, stop, sum(one.cost for one in units[first:stop])))
                cost = sum(one.cost for one in units[stop:index])
                first = stop
        cost += unit.cost
    if first < len(units):
        if (
            runs
            and cost < words * SMALL
            and runs[-1][2] + cost <= words * LARGE
            and not units[first].is_heading
        ):
            runs[-1] = (runs[-1][0], len(units), runs[-1][2] + cost)
        else:
            runs.append((first, len(units), cost))
    for start, stop, _ in runs:
        body = next((unit for unit in units[start:stop] if not unit.is_heading), units[stop - 1])
        yield units[start].start, units[stop - 1].end, body.start
