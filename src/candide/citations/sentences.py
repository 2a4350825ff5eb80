"""Cuts an answer into its sentences, with exact spans.

A mark belongs to the sentence before it, a quotation is never cut, and code, formulae that stand alone and definitions
are no sentences. Headings, rows of tables, items of lists and quoted blocks are kept apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from candide.citations.quotations import find_quotations
from candide.citations.scan import Token, scan

Kind = Literal["prose", "heading", "row", "quote"]

_PREFIX = re.compile(r"[ \t]*(?:>[ \t]?)*[ \t]*")
_HEADING = re.compile(r"#{1,6}[ \t]+")
_RULE = re.compile(r"(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|=+[ \t]*)\Z")
_TABLE_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)*\Z")
_ITEM = re.compile(r"(?:[-*+•]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?")
_MARK = "\ue000"
"""Stands for each character of a bracket while sentences are looked for."""
_HIDDEN = "\ue001"
"""The same for code, formulae and links."""
_END = re.compile(
    r"(?P<stop>[.!?…؟।]+|[。！？｡]+)"
    r"(?P<close>(?:[\"”’')\]*_」』）›]|[ \u00a0\u202f]?»|“(?=\s|$))*)"
    rf"(?P<marks>(?:[ \t\u00a0\u202f]*\n?[ \t]*{_MARK}+)*[.]?)"
)
_AFTER = re.compile(r"\s+(?:>[ \t]*)*[\"“«„‘(*_\[¿¡「『]*[\s\u00a0]*(?P<next>\S)")
_LAST_WORD = re.compile(r"(?:[^\W_]+[.’'-]+)*[^\W_]+\Z")
_NEXT_WORD = re.compile(r"[^\W\d_]+")
_INITIALS = re.compile(r"(?:[A-ZÀ-Þ]\.)*-?[A-ZÀ-Þ]\Z")
_LEAD = re.compile(r"\s*(?:>\s*)*")
_CJK = "。！？｡"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ABBREVIATIONS = _set(
    "m mm mme mlle dr pr st ste cf vs mr mrs ms prof sr jr gen col lt sgt capt sen rep gov rev hon mt ft"
    " e.g i.e z.b d.h u.a bzw hr str sra srta ud p.ex c.-à-d"
)
_BEFORE_FIGURES = _set(
    "b c d no nos nr n p pp vol art fig chap ch núm pág ca env approx aprox av apr v vers sect § tél jan janv feb févr mar apr"
    " avr jun juin jul juil aug août sep sept oct okt nov dez dec déc"
)
_MONTHS = _set(
    "januar februar märz april mai juni juli august september oktober november dezember januari desember"
)
_STARTERS = _set(
    "the it he she they we in on at this that these a an but and however le la les il elle ils elles on un une des dans en"
    " ce cette ces mais el los las en es der die das er sie es ein eine im"
)


@dataclass(frozen=True, slots=True)
class Span:
    """A sentence, or what stands for one: `[start, end)` in characters of the text."""

    start: int
    end: int
    kind: Kind = "prose"


def split(text: str, tokens: list[Token] | None = None) -> list[Span]:
    """The sentences of a Markdown text, in its order; `tokens` are those of `scan`, where they are known."""
    tokens = scan(text) if tokens is None else tokens
    masked = _mask(text, tokens)
    spans: list[Span] = []
    for block in _blocks(masked, [t for t in tokens if t.kind in ("block", "definition")]):
        if block.kind in ("prose", "quote"):
            spans += [Span(a, b, block.kind) for a, b in _sentences(masked, block.start, block.end)]
        elif trimmed := _trim(masked, block.start, block.end):
            spans.append(Span(*trimmed, block.kind))
    return _join_marks(masked, spans)


_BREAK = re.compile(r"\n(?:\s*\n|(?=\s*[^\sa-zà-öø-ÿα-ωа-я]))")


def split_prose(text: str) -> list[tuple[int, int]]:
    """The sentences of a plain text. A line's end is that of a paragraph, unless the next goes on in small letters."""
    spans: list[tuple[int, int]] = []
    at = 0
    for found in [*_BREAK.finditer(text), None]:
        end = found.end() if found else len(text)
        if trimmed := _trim(text, at, end):
            spans += _sentences(text, *trimmed)
        at = end
    return spans


def _mask(text: str, tokens: list[Token]) -> str:
    """The text, with what holds no ends of sentences hidden; every place stays where it is."""
    pieces: list[str] = []
    at = 0
    for token in tokens:
        if token.kind in ("bracket", "inline"):
            pieces += (
                text[at : token.start],
                (_MARK if token.kind == "bracket" else _HIDDEN) * (token.end - token.start),
            )
            at = token.end
    return "".join([*pieces, text[at:]])


def _blocks(text: str, skipped: list[Token]) -> Iterator[Span]:
    """Paragraphs, headings, rows and quoted blocks."""
    start = end = -1
    is_quote = False
    row: Span | None = None
    for line_start, line_end in _lines(text, skipped):
        prefix = _PREFIX.match(text, line_start, line_end)
        at = prefix.end() if prefix else line_start
        quoted = ">" in text[line_start:at]
        line = text[at:line_end].rstrip()
        last = at + len(line)
        if row and line and _TABLE_RULE.match(line) and "-" in line:
            yield Span(row.start, row.end, "heading")
            row = None
            continue
        if row:
            yield row
            row = None
        heading = _HEADING.match(line)
        item = _ITEM.match(line)
        is_row = line.startswith("|")
        is_rule = bool(_RULE.match(line))
        if start >= 0 and (not line or heading or item or is_row or is_rule or quoted != is_quote):
            kind: Kind = "quote" if is_quote else "prose"
            yield Span(start, end, "heading" if is_rule and line.startswith("=") else kind)
            start = -1
        if not line or is_rule:
            continue
        if heading:
            yield Span(at + heading.end(), last, "heading")
        elif is_row:
            cells = line.strip("| \t")
            if cells:
                first = at + line.index(cells[0])
                row = Span(first, first + len(cells), "row")
        else:
            if start < 0:
                start = at + (item.end() if item else 0)
                is_quote = quoted
            end = max(last, start)
    if row:
        yield row
    if 0 <= start < end:
        yield Span(start, end, "quote" if is_quote else "prose")


def _lines(text: str, skipped: list[Token]) -> Iterator[tuple[int, int]]:
    """Lines without their breaks; what is skipped parts paragraphs as an empty line does."""
    at = 0
    for token in [*skipped, Token("block", len(text), len(text))]:
        while at < token.start:
            end = text.find("\n", at, token.start)
            end = token.start if end < 0 else end
            yield at, end
            at = end + 1
        yield token.start, token.start
        at = max(at, token.end)


def _sentences(text: str, start: int, end: int) -> list[tuple[int, int]]:
    quotations = find_quotations(text[start:end])
    spans: list[tuple[int, int]] = []
    at = start
    for found in _END.finditer(text, start, end):
        stop = found.end()
        if found.start() < at or not _ends_sentence(text, found, end):
            continue
        last = found.end("close") - start
        if any(q.start < last < q.end for q in quotations):
            continue
        spans.append((at, stop))
        at = stop
    spans.append((at, end))
    return [trimmed for first, last in spans if (trimmed := _trim(text, first, last))]


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without white space, and the signs of a quoted block, at its ends; None when nothing is left."""
    lead = _LEAD.match(text, start, end)
    start = lead.end() if lead else start
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _ends_sentence(text: str, found: re.Match[str], end: int) -> bool:
    stop = found["stop"]
    if found.end() >= end or stop[0] in _CJK:
        return True
    after = _AFTER.match(text, found.end(), end)
    if not after:
        return text[found.end() : end].strip() == ""
    following = after["next"]
    if following == _MARK:
        return False
    if found["marks"].strip(" \t\n."):
        return True
    if following.islower():
        return False
    if not stop.startswith(".") or len(stop) > 1 or found["close"]:
        return True
    word = _LAST_WORD.search(text, max(0, found.start() - 24), found.start())
    if not word:
        return True
    bare = word[0].lower()
    following_word = _NEXT_WORD.match(text, after.start("next"))
    next_word = following_word[0].lower() if following_word else ""
    if bare in _ABBREVIATIONS:
        return False
    if bare in _BEFORE_FIGURES and (following.isdigit() or following in "JIVXLC"):
        return False
    if bare.isdigit() and len(bare) <= 2 and next_word in _MONTHS:
        return False
    if _INITIALS.fullmatch(word[0]) and "-" not in word[0]:
        return next_word in _STARTERS
    return True


def _join_marks(text: str, spans: list[Span]) -> list[Span]:
    """What holds nothing but marks goes to the sentence before it."""
    joined: list[Span] = []
    for span in spans:
        if (
            joined
            and not text[span.start : span.end].strip(_MARK + " \t\n.,;*_")
            and joined[-1].kind == "prose"
        ):
            joined[-1] = Span(joined[-1].start, span.end, joined[-1].kind)
        else:
            joined.append(span)
    return joined
