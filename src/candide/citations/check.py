"""Checks an answer, sentence by sentence, against the passages that it was to be written from.

Quotations first: one that stands in no passage letter by letter is repaired from the passage that says nearly that, or
loses its quotation marks. Then each sentence gets its support and its citations, with exact spans of the sources'
texts. A mark whose source does not bear its sentence out is moved to one that does.

What a passage says is compared and quoted, never followed.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from candide.citations.quotations import (
    SHORT,
    Part,
    Quotation,
    count_words,
    find_quotations,
    locate,
    locate_near,
    parts_of,
)
from candide.citations.refusal import is_refusal
from candide.citations.scan import Token, scan
from candide.citations.sentences import Span, split
from candide.citations.support import Claim, Embed, Judge, Place, Shown, Verdict, has_name, read_claim, show
from candide.citations.vocabulary import AFFIRMATIONS, PLEASANTRIES, TITLE_CUES
from candide.domain.citations import Citation, Sentence, Support
from candide.domain.sources import NumberedSource

LARGEST_NUMBER = 999
"""Numbers in brackets above this are years, not sources that do not exist."""
PART_OF = 0.4
"""The share of a sentence that one of several cited sources must bear out for its citation to stand."""

Flag = Literal["quote_repaired", "quote_unmarked", "unknown_number", "citation_moved"]

_SIGNS = re.compile(r"[*_~]{1,3}|^\s*>+\s?|\]\([^)\s]*\)", re.MULTILINE)
_MARKUP = re.compile(r"[\[\]<>`|\\$*_#]|\n\s*\n|[“”«»„\"]")
_CAPITAL_WORD = re.compile(r"[^\W\d_]{4,}")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Checked:
    """What checking an answer came to."""

    text: str | None
    """The answer as corrected; None when it is as it was."""
    sentences: list[Sentence]
    """Those of the corrected answer, in its order, with offsets of it."""
    abstained: bool
    """Whether it says that the sources do not say, and nothing that they bear out."""


def check(
    answer: str, sources: Sequence[NumberedSource], *, question: str, embed: Embed | None = None
) -> Checked:
    """Check an answer against its sources.

    `embed` compares sentences with passages of other languages; without it, only names and numbers tie them. It is
    called once at most. Every citation's `quote` is the source's text from its `start` to its `end`.
    """
    shown = show(sources)
    text, flags = _mend_quotations(answer, shown, question)
    tokens = scan(text)
    spans = split(text, tokens)
    drafts = [
        _Draft.of(text, span, tokens, question, {source.number for source in sources}) for span in spans
    ]
    for draft in drafts:
        draft.flags += [
            flag for at, flag in flags if draft.span.start <= at < draft.span.end and flag not in draft.flags
        ]
    judge = Judge(shown, question, embed)
    judge.prepare(draft.claim for draft in drafts if draft.states)
    edits = _Edits()
    for draft in drafts:
        if draft.states:
            _judge(draft, judge, shown, edits)
    final = edits.apply(text)
    sentences = [draft.sentence(final, edits) for draft in drafts]
    abstained = any(draft.refuses for draft in drafts) and not any(
        draft.support in ("quoted", "supported") for draft in drafts
    )
    return Checked(final if final != answer else None, sentences, abstained)


class _Edits:
    """Replacements in a text that do not overlap, and where its places are afterwards."""

    def __init__(self) -> None:
        self._edits: list[tuple[int, int, str]] = []

    def add(self, start: int, end: int, replacement: str) -> None:
        if (start, end, replacement) not in self._edits:
            self._edits.append((start, end, replacement))

    def apply(self, text: str) -> str:
        self._edits.sort()
        pieces: list[str] = []
        at = 0
        for start, end, replacement in self._edits:
            pieces += (text[at:start], replacement)
            at = end
        return "".join([*pieces, text[at:]])

    def moved(self, place: int) -> int:
        """Where a place is after the edits that stand before it."""
        shift = 0
        for start, end, replacement in self._edits:
            if end <= place and (start, end) != (place, place):
                shift += len(replacement) - (end - start)
            elif start < place:
                return start + shift + len(replacement)
        return place + shift


# --- Quotations -------------------------------------------------------------------------------------------------------


def _mend_quotations(answer: str, shown: list[Shown], question: str) -> tuple[str, list[tuple[int, Flag]]]:
    """The answer with quotations that are verbatim, and what was done where, in characters of the outcome."""
    tokens = scan(answer)
    edits = _Edits()
    noted: list[tuple[int, Flag]] = []
    for span in split(answer, tokens):
        if span.kind == "heading":
            continue
        for quotation in _quotations(answer, span, tokens):
            flag = _mend(answer, quotation, span, tokens, shown, question, edits)
            if flag:
                noted.append((quotation.start, flag))
    text = edits.apply(answer)
    return text, [(edits.moved(at), flag) for at, flag in noted]


def _quotations(text: str, span: Span, tokens: Sequence[Token]) -> list[Quotation]:
    """Those of a sentence; one of a quoted block is a quotation as a whole."""
    if span.kind == "quote":
        start, end = span.start, span.end
        for token in tokens:
            if token.kind == "bracket" and token.end == end and token.start > start:
                end = token.start
        while end > start and text[end - 1].isspace():
            end -= 1
        inner = find_quotations(text[start:end])
        if not inner:
            return [Quotation(start, end, start, end)] if start < end else []
    hidden = [(t.start, t.end) for t in tokens if t.kind in ("inline", "block", "definition")]
    found = find_quotations(text[span.start : span.end])
    placed = [
        Quotation(*(span.start + at for at in (q.start, q.end, q.inner_start, q.inner_end))) for q in found
    ]
    return [q for q in placed if not any(a < q.end and q.start < b for a, b in hidden)]


def _mend(
    text: str,
    quotation: Quotation,
    span: Span,
    tokens: Sequence[Token],
    shown: list[Shown],
    question: str,
    edits: _Edits,
) -> Flag | None:
    marks = [
        t for t in tokens if t.kind == "bracket" and quotation.inner_start <= t.start < quotation.inner_end
    ]
    inner_end = quotation.inner_end
    moved = ""
    if marks and marks[-1].end == inner_end:
        # A mark within the quotation goes behind it.
        inner_end = marks[0].start if _only_marks(text[marks[0].start : inner_end]) else marks[-1].start
        moved = " " + _SPACE.sub("", text[inner_end : quotation.inner_end])
        while inner_end > quotation.inner_start and text[inner_end - 1].isspace():
            inner_end -= 1
    inner = text[quotation.inner_start : inner_end]
    parts = parts_of(_plain(inner))
    if not parts:
        return None
    cited = {n for t in tokens if t.kind == "bracket" and span.start <= t.start < span.end for n in t.numbers}
    ordered = sorted(shown, key=lambda one: one.number not in cited)
    tail = inner[len(inner.rstrip(".,;:!?")) :]
    for ending in ("", tail) if tail else ("",):
        core = inner[: len(inner) - len(ending)] if ending else inner
        core_parts = parts_of(_plain(core))
        for one in ordered:
            found = locate(core_parts, one.normal)
            if found:
                if ending or moved or not _is_strict(core, found, one):
                    _replace(
                        text,
                        quotation,
                        core if _is_strict(core, found, one) else _spell(found, one),
                        ending + moved,
                        edits,
                    )
                return None
    if _normal_in(inner, question) or _is_term(text, quotation, span, inner):
        return None
    best: tuple[float, list[Part], Shown] | None = None
    for one in ordered:
        near = [locate_near(part, one.normal) for part in parts]
        found = [item for item in near if item]
        if len(found) == len(parts) and all(a[1].end <= b[1].start for a, b in itertools.pairwise(found)):
            score = min(item[0] for item in found)
            if best is None or score > best[0] + 2:
                best = (score, [item[1] for item in found], one)
    if best and not any(_MARKUP.search(best[2].passage.text[part.start : part.end]) for part in best[1]):
        _replace(text, quotation, _spell(best[1], best[2]), tail[-1:] + moved, edits)
        return "quote_repaired"
    _unmark(text, quotation, span, edits)
    return "quote_unmarked"


def _only_marks(text: str) -> bool:
    return not re.sub(r"[\[【［][^\]】］]*[\]】］]", "", text).strip()


def _plain(text: str) -> str:
    """Words without marks and the signs of Markdown."""
    return _SIGNS.sub("", re.sub(r"[\[【［][\d\s,;–—-]+(?:†[^】]*)?[\]】］]", "", text))


def _is_strict(inner: str, parts: Sequence[Part], shown: Shown) -> bool:
    """Whether letters and signs are the source's own, but for compatibility forms and white space."""
    said = [
        _collapse(piece)
        for piece in re.split(r"\s*(?:[\[(]\s*(?:…|\.\.\.)\s*[\])]|…|\.\.\.)\s*", inner)
        if piece.strip()
    ]
    return said == [_collapse(shown.passage.text[part.start : part.end]) for part in parts]


def _collapse(text: str) -> str:
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip()


def _spell(parts: Sequence[Part], shown: Shown) -> str:
    """A quotation as the source has it, on one line."""
    return " […] ".join(_SPACE.sub(" ", shown.passage.text[part.start : part.end]).strip() for part in parts)


def _replace(text: str, quotation: Quotation, inner: str, after: str, edits: _Edits) -> None:
    if _MARKUP.search(inner.replace("[…]", "")):
        return
    edits.add(quotation.inner_start, quotation.inner_end, inner)
    if after:
        edits.add(quotation.end, quotation.end, after)


def _unmark(text: str, quotation: Quotation, span: Span, edits: _Edits) -> None:
    if quotation.start == quotation.inner_start:
        # A quoted block's sign stands at the beginning of its lines.
        line = text.rfind("\n", 0, span.start) + 1
        for found in re.finditer(r"(?m)^[ \t]*(?:>[ \t]?)+", text[line : span.end]):
            edits.add(line + found.start(), line + found.end(), "")
        return
    edits.add(quotation.start, quotation.inner_start, "")
    edits.add(quotation.inner_end, quotation.end, "")


def _normal_in(inner: str, question: str) -> bool:
    """Whether it is the question that is quoted."""
    return _collapse(inner).lower() in _collapse(question).lower()


def _is_term(text: str, quotation: Quotation, span: Span, inner: str) -> bool:
    """Whether what stands in quotation marks is a term, a name or a title, and no one's words."""
    if quotation.start == quotation.inner_start:
        return False
    if count_words(inner) <= SHORT:
        return True
    before = re.findall(r"\w+", text[span.start : quotation.start].lower())[-2:]
    if TITLE_CUES.intersection(before):
        return True
    words = _CAPITAL_WORD.findall(inner)
    return len(words) > 1 and sum(word[0].isupper() for word in words) >= 0.7 * len(words)


# --- Sentences --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Draft:
    """A sentence on its way to being checked."""

    text: str
    span: Span
    brackets: list[Token]
    cited: list[int]
    quotations: list[tuple[Quotation, str]]
    claim: Claim
    rest: Claim
    """What it says outside of its quotations."""
    states: bool
    refuses: bool
    flags: list[str] = field(default_factory=list[str])
    support: Support | None = None
    citations: list[Citation] = field(default_factory=list[Citation])

    @classmethod
    def of(cls, text: str, span: Span, tokens: Sequence[Token], question: str, known: set[int]) -> _Draft:
        """A sentence of a text; `known` are the numbers of the sources."""
        sentence = text[span.start : span.end]
        inside = [t for t in tokens if span.start <= t.start and t.end <= span.end]
        brackets = [t for t in inside if t.kind == "bracket"]
        numbers = list(dict.fromkeys(n for t in brackets for n in t.numbers))
        quotations = _quotations(text, span, tokens) if span.kind != "heading" else []
        bare = _blank(text, span, [(t.start, t.end) for t in inside])
        rest = _blank(text, span, [(t.start, t.end) for t in inside] + [(q.start, q.end) for q in quotations])
        claim = read_claim(_SIGNS.sub(" ", bare), question)
        # A number that was not asked about is a statement.
        refuses = is_refusal(rest.strip()) and not set(claim.numerals) - set(read_claim(question).numerals)
        return cls(
            text=sentence,
            span=span,
            brackets=[t for t in brackets if any(n in known for n in t.numbers)],
            cited=[n for n in numbers if n in known],
            quotations=[(q, _plain(text[q.inner_start : q.inner_end])) for q in quotations],
            claim=claim,
            rest=read_claim(_SIGNS.sub(" ", rest), question) if quotations else claim,
            states=span.kind != "heading" and not refuses and _states(bare.strip(), claim, bool(numbers)),
            refuses=refuses,
            flags=["unknown_number"] if any(n not in known and n <= LARGEST_NUMBER for n in numbers) else [],
        )

    def sentence(self, text: str, edits: _Edits) -> Sentence:
        start, end = edits.moved(self.span.start), edits.moved(self.span.end)
        return Sentence(
            text=text[start:end],
            start=start,
            end=end,
            support=self.support,
            citations=self.citations,
            flags=self.flags,
        )


def _blank(text: str, span: Span, holes: Sequence[tuple[int, int]]) -> str:
    """A sentence with spaces for what does not count."""
    signs = list(text[span.start : span.end])
    for start, end in holes:
        for at in range(max(start, span.start), min(end, span.end)):
            signs[at - span.start] = " "
    return "".join(signs)


def _states(sentence: str, claim: Claim, is_marked: bool) -> bool:
    if sentence.rstrip("*_ ").endswith(("?", "？", "؟")):
        return False
    if claim.is_empty:
        words = {word.lower() for word in re.findall(r"\w+", sentence)}
        return is_marked or bool(words & AFFIRMATIONS)
    if claim.names or claim.numerals or is_marked:
        return True
    return not (sentence.endswith(":") or sentence.lower().lstrip(" *_¡").startswith(PLEASANTRIES))


def _judge(draft: _Draft, judge: Judge, shown: list[Shown], edits: _Edits) -> None:
    """Give a sentence its support, its citations and, where its marks are wrong, others."""
    located = _locate_all(draft, shown)
    verdict = judge.judge(draft.claim, draft.cited) if draft.cited else None
    if verdict is None or not verdict.is_supported:
        elsewhere = judge.judge(draft.claim)
        if verdict is None or elsewhere.is_supported:
            verdict = elsewhere
    if located and _is_quoted(draft, located, verdict, shown):
        draft.support = "quoted"
        cites = [
            (one.number, one.passage.start + p.start, one.passage.start + p.end, one)
            for one, ps in located
            for p in ps
        ]
    else:
        draft.support = "supported" if verdict.is_supported else "unsupported"
        cites = [_cite(place) for place in verdict.places] if verdict.is_supported else []
    numbers = {number for number, *_ in cites}
    if cites and draft.cited and numbers.isdisjoint(draft.cited):
        _move(draft, sorted(numbers), edits)
    for number in draft.cited:
        if number not in numbers and (draft.support == "unsupported" or not numbers.isdisjoint(draft.cited)):
            nearest = judge.nearest(draft.claim, number)
            if nearest.places and (draft.support == "unsupported" or nearest.score >= PART_OF):
                cites.append(_cite(nearest.places[0]))
    for number, start, end, one in dict.fromkeys(cites):
        base = one.passage.start
        draft.citations.append(
            Citation(
                number=number,
                start=start,
                end=end,
                quote=one.passage.text[start - base : end - base],
                by_model=number in draft.cited,
            )
        )


_Cite = tuple[int, int, int, Shown]


def _cite(place: Place) -> _Cite:
    base = place.shown.passage.start
    return place.shown.number, base + place.start, base + place.end, place.shown


def _locate_all(draft: _Draft, shown: list[Shown]) -> list[tuple[Shown, list[Part]]]:
    """Where the quotations of a sentence stand, those of the sources that it cites first; terms that stand nowhere are
    no quotations."""
    ordered = sorted(shown, key=lambda one: one.number not in draft.cited)
    located: list[tuple[Shown, list[Part]]] = []
    for _, inner in draft.quotations:
        parts = parts_of(inner)
        for one in ordered:
            found = locate(parts, one.normal) if parts else None
            if found:
                located.append((one, found))
                break
        else:
            if count_words(inner) > SHORT:
                return []
    return located


def _is_quoted(
    draft: _Draft, located: list[tuple[Shown, list[Part]]], verdict: Verdict, shown: list[Shown]
) -> bool:
    """Whether a sentence rests on its quotations: what it says around them must not be made up, and a mere term in
    quotation marks bears nothing out by itself."""
    names = frozenset[str]().union(*(one.names for one in shown))
    keys = frozenset[str]().union(*(one.keys for one in shown))
    rest = draft.rest
    if not all(has_name(name, names) for name in rest.names) or any(
        wanted.isdisjoint(keys) for wanted in rest.numerals
    ):
        return False
    return verdict.is_supported or any(count_words(inner) > SHORT for _, inner in draft.quotations)


def _move(draft: _Draft, numbers: list[int], edits: _Edits) -> None:
    """Replace the marks of a sentence by those of the sources that bear it out."""
    first, *others = draft.brackets
    edits.add(first.start, first.end, "".join(f"[{number}]" for number in numbers))
    for token in others:
        edits.add(token.start, token.end, "")
    draft.flags.append("citation_moved")
