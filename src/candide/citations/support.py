"""Whether passages bear a sentence out: its numbers, dates, names and content words, and what it denies.

What a sentence says in figures and names must be found, all of it, or it is not supported. Of its other words enough
must stand where those stand. It must not deny what the passage says, nor say the opposite. Across languages, sentences and
single words are compared by their meaning, which an embedder tells; without one, by names and numbers alone.

This is no reading: a sentence that turns round who did what to whom with the same words is taken for supported.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rapidfuzz import fuzz

from candide.citations.normalise import Normalised, normalise
from candide.citations.numerals import Numeral, find_numerals, held_keys
from candide.citations.sentences import split_prose
from candide.citations.vocabulary import NEGATIONS, REPORTING
from candide.citations.words import (
    OPPOSITE,
    Word,
    find_words,
    fold,
    has_negation,
    tell_language,
)
from candide.domain.sources import NumberedSource, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""Vectors of texts, one each, such that those of texts of one meaning are near; their lengths do not matter."""

ENOUGH = 0.65
"""The share of a sentence's weight that passages must hold."""
ENOUGH_ACROSS = 0.65
"""The share of words that a place of another language must hold whose cosine is `USUAL` (of multilingual-e5-small)."""
USUAL = 0.85
NEARER = 5.0
"""How much share a cosine above that makes up for."""
SAME_WORD = (0.02, 0.05)
"""By how much two words must be nearer than either is to others, to begin to say the same, and to say the same."""
SAME_NOUN = 0.025
SAME_NAME_ACROSS = 0.075
"""The same of what may be a name, and of a name that is another word in the other language ("Corona", "Crown")."""
NEIGHBOURS = 10
"""The others that a word is compared with."""
ENOUGH_SHORT = 0.5
"""The same of a short answer together with its question."""
ASKED = 0.3
"""The share of a question's words that stand around what answers it in short."""
RIVAL = 0.67
"""The share of those that stand in one sentence of a passage at most which the sentence of a short answer must have."""
NEW = 0.5
"""The share of what the question did not say that passages must hold; all of it where it is one or two words."""
GAIN = 0.12
"""What a further place must add to the share, to be cited as well."""
OWN = 0.3
"""The share that such a place must hold by itself: one number in common is no evidence."""
LIKELY = 3
"""How many places of another language a sentence is compared with by meaning."""
MOST_EMBEDDED = 4500
"""Characters that are embedded for one answer, some 1.5 seconds of two cores that do nothing else."""
EACH = 20
"""The characters that every text takes on top of its own."""
PLACES = 3
"""How many places of the sources one sentence may rest on."""

_NUMERAL_WEIGHT = 2.0
_NAME_WEIGHT = 1.5
_ASKED_WEIGHT = 0.5
"""What the question said already tells less."""
_AROUND_WEIGHT = 0.6
"""Of a word that stands in the passage or its title, though not in the place itself."""
_REPORTING = frozenset(fold(word) for word in REPORTING)
_NEGATIONS = frozenset(fold(word) for word in NEGATIONS)


@dataclass(slots=True, eq=False)
class Place:
    """A sentence of a passage, or two that follow each other."""

    shown: Shown
    start: int
    """In characters of the passage."""
    end: int
    words: list[Word]
    stems: frozenset[str]
    names: frozenset[str]
    spoken_of: frozenset[str]
    """Its words, and those of the title and headings, as names are compared."""
    keys: frozenset[str]
    denied: frozenset[str]
    """Stems that stand near a word that denies."""

    @property
    def text(self) -> str:
        return self.shown.passage.text[self.start : self.end]


@dataclass(slots=True, eq=False)
class Shown:
    """A passage that was shown to the model, as it is compared."""

    number: int
    passage: Passage
    language: str
    normal: Normalised
    names: frozenset[str]
    """All its words, with those of its title and headings, as names are compared."""
    stems: frozenset[str]
    keys: frozenset[str]
    singles: list[Place] = field(default_factory=list["Place"])
    """Its sentences."""
    places: list[Place] = field(default_factory=list["Place"])
    """Its sentences, and each two that follow each other."""


@dataclass(frozen=True, slots=True)
class Content:
    """A word of a claim that a place of another language must say."""

    word: Word
    text: str
    weight: float
    least: float
    """How near a word of the places must be, where a name is not spelled there."""


@dataclass(slots=True)
class Claim:
    """What a sentence says that can be looked up."""

    text: str
    language: str
    numerals: list[frozenset[str]]
    names: list[str]
    nouns: list[tuple[str, str]]
    """Of German, what may be a name or a noun, as a name and as a stem: one or the other must stand there."""
    stems: dict[str, float]
    """With what each weighs."""
    is_negative: bool
    words: list[Word]
    content: list[Content]
    """What its names and stems are of."""

    @property
    def is_empty(self) -> bool:
        return not (self.numerals or self.names or self.stems)


@dataclass(slots=True)
class Verdict:
    is_supported: bool
    score: float
    places: list[Place]
    """What it rests on, or the nearest."""


def show(sources: Iterable[NumberedSource]) -> list[Shown]:
    """The passages of numbered sources, read once for all sentences of an answer."""
    return [_read(source, passage) for source in sources for passage in source.passages]


def _read(source: NumberedSource, passage: Passage) -> Shown:
    words = find_words(passage.text)
    around = find_words(f"{source.title} {passage.headings}")
    numerals = find_numerals(passage.text)
    title_keys = frozenset(held_keys(find_numerals(f"{source.title} {passage.headings}")))
    said_above = _names(around) | _spelled_out(f"{source.title} {passage.text}")
    language = tell_language(words, passage.text) or source.language[:2]
    shown = Shown(
        number=source.number,
        passage=passage,
        language=language,
        normal=normalise(passage.text),
        names=_names(words) | said_above,
        stems=_stems(words) | _stems(around),
        keys=frozenset(held_keys(numerals)) | title_keys,
    )
    spans = split_prose(passage.text)
    shown.singles = [
        _place(shown, start, end, words, numerals, title_keys, said_above) for start, end in spans
    ]
    shown.places = shown.singles + [_join(one, other) for one, other in itertools.pairwise(shown.singles)]
    return shown


def _place(
    shown: Shown,
    start: int,
    end: int,
    words: list[Word],
    numerals: list[Numeral],
    title_keys: frozenset[str],
    around: frozenset[str],
) -> Place:
    its = [word for word in words if start <= word.start and word.end <= end]
    return Place(
        shown=shown,
        start=start,
        end=end,
        words=its,
        stems=_stems(its),
        names=_names(its),
        spoken_of=_names(its) | around,
        keys=title_keys | held_keys([n for n in numerals if start <= n.start and n.end <= end]),
        denied=_denied(its, shown.passage.text),
    )


def _join(one: Place, other: Place) -> Place:
    return Place(
        shown=one.shown,
        start=one.start,
        end=other.end,
        words=[*one.words, *other.words],
        stems=one.stems | other.stems,
        names=one.names | other.names,
        spoken_of=one.spoken_of | other.spoken_of,
        keys=one.keys | other.keys,
        denied=one.denied | other.denied,
    )


def _stems(words: Iterable[Word]) -> frozenset[str]:
    return frozenset([word.stem for word in words])


_SHORT_NAMES = {
    re.compile(r"\bU\.?S\.?A?\b"): "united states",
    re.compile(r"\bU\.?K\b"): "united kingdom",
    re.compile(r"\bUnited States\b|\bÉtats-Unis\b|\bEstados Unidos\b"): "us usa",
    re.compile(r"\bUnited Kingdom\b|\bRoyaume-Uni\b|\bReino Unido\b"): "uk",
}


def _spelled_out(text: str) -> frozenset[str]:
    """Names that stand in a text under their initials, and initials of names that stand there."""
    return _names(
        word for pattern, names in _SHORT_NAMES.items() if pattern.search(text) for word in find_words(names)
    )


def _names(words: Iterable[Word]) -> frozenset[str]:
    return frozenset([word.name for word in words])


_FIGURE_NEXT = re.compile(r"[.°]?\s?\d")


def _denied(words: list[Word], text: str) -> frozenset[str]:
    near: set[str] = set()
    for at, word in enumerate(words):
        # "No. 5" denies nothing.
        if word.folded in _NEGATIONS and not (word.folded == "no" and _FIGURE_NEXT.match(text, word.end)):
            near.update(w.stem for w in words[max(0, at - 2) : at + 4] if not w.is_stop)
    return frozenset(near)


def read_claim(text: str, question: str = "") -> Claim:
    """What a sentence says, without its marks and the signs of Markdown."""
    words = find_words(text)
    numerals = find_numerals(text)
    language = tell_language(words, text)
    asked = {word.stem for word in find_words(question) if not word.is_stop}
    names: dict[str, None] = {}
    nouns: list[tuple[str, str]] = []
    stems: dict[str, float] = {}
    content: list[Content] = []
    for at, word in enumerate(words):
        if word.is_stop or any(n.start <= word.start and word.end <= n.end for n in numerals):
            continue
        if word.folded in _REPORTING:
            continue
        key = word.stem
        if _is_name(text, words, at, language):
            names[word.name] = None
            content.append(Content(word, _written(text, word), _NAME_WEIGHT, SAME_NAME_ACROSS))
        elif len(word.folded) > 2 or not word.folded.isascii():
            stems[key] = _ASKED_WEIGHT if key in asked else 1.0
            is_noun = (
                language == "de"
                and word.is_capital
                and not _NOUN.search(word.folded)
                and not _begins(text, word)
            )
            if is_noun:
                nouns.append((word.name, key))
            least = SAME_NOUN if is_noun else -1.0
            content.append(Content(word, _written(text, word), stems[key], least))
    return Claim(
        text=text,
        language=language,
        numerals=[n.keys for n in numerals if not (n.is_word and "2" in n.keys)],
        names=list(names),
        nouns=nouns,
        stems=stems,
        is_negative=has_negation(text),
        words=words,
        content=content,
    )


def _written(text: str, word: Word) -> str:
    return text[word.start : word.end].lower()


_BEGINS = re.compile(r"(?:\A|[.!?:;]\s|[«“\"‘(*_>\n|-]\s*)\Z")


_NOUN = re.compile(
    "(?:ung|ungen|heit|heiten|keit|keiten|schaft|schaften|tion|tionen|tat|taten|nis|nisse|chen|ismus|ling)$"
)
"""Endings that no German name has."""


def _begins(text: str, word: Word) -> bool:
    """Whether a word has its capital from where it stands."""
    return _BEGINS.search(text, max(0, word.start - 8), word.start) is not None


def _is_name(text: str, words: list[Word], at: int, language: str) -> bool:
    word = words[at]
    if not word.is_capital:
        return False
    written = text[word.start : word.end]
    if len(written) > 1 and (written.isupper() or any(sign.isdigit() for sign in written)):
        return True
    before = words[at - 1] if at else None
    after = words[at + 1] if at + 1 < len(words) else None
    beside = [
        w for w in (before, after) if w and w.is_capital and not w.is_stop and _is_beside(text, word, w)
    ]
    if language == "de":
        # Every noun is a capital's: two side by side are a name.
        return bool(beside)
    if _begins(text, word):
        return bool(beside)
    return True


def _is_beside(text: str, one: Word, other: Word) -> bool:
    first, second = sorted((one, other), key=lambda word: word.start)
    return text[first.end : second.start] in (" ", "-", "\u00a0", ". ")


_WANTS_NUMBER = re.compile(
    r"\b(?:combien|how many|cu[áa]nt[oa]s?|wie ?viele?|(?:quelle|quelles) ann[ée]es?|(?:what|which) years?|qu[ée] año"
    r"|welche\w jahr)\b",
    re.IGNORECASE,
)


class Judge:
    """Judges the sentences of one answer by the passages that were shown."""

    def __init__(self, shown: list[Shown], question: str, embed: Embed | None) -> None:
        self._shown = shown
        self._asked = {
            word.stem: _ASKED_WEIGHT
            for word in find_words(question)
            if not word.is_stop and len(word.folded) > 2 and word.folded not in _REPORTING
        }
        self._wants_number = _WANTS_NUMBER.search(question) is not None
        self._embed = embed
        self._vectors: dict[str, Sequence[float]] = {}
        self._likely: dict[int, list[Place]] = {}
        """By the identity of a claim, where it may stand in another language."""

    def prepare(self, claims: Iterable[Claim]) -> None:
        """Have the embedder see at once all that will be compared across languages."""
        if self._embed is None:
            return
        texts: dict[str, None] = {}
        spent = 0
        for claim in claims:
            places = [
                place
                for one in self._shown
                if _is_across(claim, one)
                for place in one.places
                if all(not keys.isdisjoint(place.keys) for keys in claim.numerals)
            ]
            likely = heapq.nlargest(LIKELY, places, key=lambda place: _likeness(claim, place))
            if not likely or not claim.content:
                continue
            wanted = dict.fromkeys([claim.text, *(content.text for content in claim.content)])
            for place in likely:
                wanted.update(dict.fromkeys([place.text, *_content_of(place)]))
            new = sum(EACH + len(text) for text in wanted if text not in texts)
            if spent + new <= MOST_EMBEDDED:
                texts.update(wanted)
                spent += new
                self._likely[id(claim)] = likely
        if texts:
            vectors = self._embed(list(texts))
            self._vectors = dict(zip(texts, vectors, strict=True))

    def judge(self, claim: Claim, numbers: Iterable[int] | None = None) -> Verdict:
        """Whether passages bear a claim out, those of the sources of these numbers or all."""
        wanted = None if numbers is None else set(numbers)
        shown = [one for one in self._shown if wanted is None or one.number in wanted]
        near = self._judge_words(claim, [one for one in shown if not _is_across(claim, one)])
        if near.is_supported:
            return near
        across = self._judge_across(claim, [one for one in shown if _is_across(claim, one)])
        if across.is_supported or not near.places:
            return across
        return near

    def nearest(self, claim: Claim, number: int) -> Verdict:
        """The place of one source that has most of a claim."""
        return self.judge(claim, [number])

    def _judge_words(self, claim: Claim, shown: list[Shown]) -> Verdict:
        soft = dict(claim.stems)
        own = len(claim.names) + len(claim.numerals) + sum(weight == 1.0 for weight in soft.values())
        is_short = len(soft) + len(claim.names) + len(claim.numerals) < 4
        if is_short:
            # A short answer leans on its question: "In 1998." is borne out where what was asked about stands.
            soft = {**self._asked, **soft}
        total = len(claim.numerals) * _NUMERAL_WEIGHT + len(claim.names) * _NAME_WEIGHT + sum(soft.values())
        if not total:
            return Verdict(False, 0.0, [])
        chosen: list[Place] = []
        best = 0.0
        for _ in range(1 if is_short else PLACES):
            held = _held(chosen)
            ranked = max(
                (
                    (_weigh(claim, soft, held, place), len(place.words) * -0.001, at, place)
                    for at, place in enumerate(
                        place for one in shown for place in (one.singles if is_short else one.places)
                    )
                ),
                default=None,
                key=lambda item: (item[0] + item[1], -item[2]),
            )
            if ranked is None:
                break
            score = ranked[0] / total
            if chosen and (score < best + GAIN or _weigh(claim, soft, _NOTHING, ranked[3]) < OWN * total):
                break
            chosen.append(ranked[3])
            best = score
        supported = (
            bool(chosen)
            and best >= (ENOUGH_SHORT if is_short else ENOUGH)
            and _bears_hard(claim, [place.shown for place in chosen], chosen)
            and _bears_nouns(claim, chosen)
            and _numbers_are_theirs(claim, chosen)
            and _new_held(claim, chosen) >= (min(own, 2) if own <= 2 else NEW * own)
            and (
                not is_short
                or (self._is_asked_about(chosen[0]) and (bool(claim.numerals) or not self._wants_number))
            )
            and not _contradicts(claim, chosen[0])
        )
        return Verdict(supported, best, chosen)

    def _is_asked_about(self, place: Place) -> bool:
        """Whether a short answer found here is one to the question: enough of its words stand here, and not many more
        at another place of the passage."""
        held = self._count_asked(place)
        most = max(self._count_asked(other) for other in place.shown.singles)
        around = sum(key in place.shown.stems for key in self._asked)
        return around >= ASKED * len(self._asked) and held >= RIVAL * most

    def _count_asked(self, place: Place) -> int:
        return len(place.stems & self._asked.keys())

    def _judge_across(self, claim: Claim, shown: list[Shown]) -> Verdict:
        if self._vectors:
            return self._judge_meaning(claim, shown)
        bearing = [one for one in shown if _bears_hard(claim, [one])]
        if not bearing:
            return Verdict(False, 0.0, [])
        # Without an embedder two things that need no translation must agree, and stand in one place.
        hard = len(claim.names) + len(claim.numerals)
        for one in bearing:
            for candidate in one.places:
                if hard >= 2 and _bears_hard(claim, [], [candidate]) and not _denies_across(claim, candidate):
                    return Verdict(True, 1.0, [candidate])
        return Verdict(False, 0.0, bearing[0].places[:1])

    def _judge_meaning(self, claim: Claim, shown: list[Shown]) -> Verdict:
        """Judge a claim by what the embedder says of its sentence and of its words."""
        places = [place for place in self._likely.get(id(claim), []) if place.shown in shown]
        written = list(dict.fromkeys(text for place in places for text in _content_of(place)))
        if not written:
            return Verdict(False, 0.0, places[:1])
        nearness = _compare(self._unit([content.text for content in claim.content]), self._unit(written))
        column = {text: at for at, text in enumerate(written)}
        best = Verdict(False, 0.0, [])
        for place in places:
            columns = [column[text] for text in _content_of(place)]
            if not columns:
                continue
            total = weight = _NUMERAL_WEIGHT * len(claim.numerals)
            bears = not _denies_across(claim, place)
            for content, row in zip(claim.content, nearness, strict=True):
                word = content.word
                is_there = word.stem in place.stems or word.name in place.names
                total += content.weight
                weight += content.weight * (1.0 if is_there else _grade(float(row[columns].max())))
                bears &= float(row.max()) >= content.least or has_name(
                    word.name, place.shown.names, across=True
                )
            said, there = self._unit([claim.text, place.text])
            cosine = float(said @ there)
            score = weight / total + NEARER * (cosine - USUAL)
            found = Verdict(bears and score >= ENOUGH_ACROSS, score, [place])
            if (found.is_supported, score) > (best.is_supported, best.score) or not best.places:
                best = found
        return best

    def _unit(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, of length 1, one a row."""
        # Only now: a server starts without it, and few answers speak another language than their sources.
        import numpy as np

        rows = np.array([self._vectors[text] for text in texts], np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _content_of(place: Place) -> list[str]:
    return [_written(place.shown.passage.text, word) for word in place.words if not word.is_stop]


def _compare(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much nearer each two words are than each is to its nearest of the other side: some words are near to all
    (cross-domain similarity local scaling; Conneau et al., "Word Translation Without Parallel Data", 2018)."""
    import numpy as np

    cosines = ours @ theirs.T
    from_ours = np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(axis=1, keepdims=True)
    from_theirs = np.sort(cosines, axis=0)[-NEIGHBOURS:].mean(axis=0, keepdims=True)
    return 2 * cosines - from_ours - from_theirs


def _grade(nearness: float) -> float:
    """From 0, another word, to 1, the same."""
    none, full = SAME_WORD
    return min(1.0, max(0.0, (nearness - none) / (full - none)))


def _likeness(claim: Claim, place: Place) -> float:
    """How much of a claim stands in a place of another language: numbers, names, and words with one origin."""
    hard = sum(not keys.isdisjoint(place.keys) for keys in claim.numerals) + sum(
        n in place.names for n in claim.names
    )
    origins = {word.folded[:5] for word in claim.words if len(word.folded) > 5 and not word.is_stop}
    shared = origins & {word.folded[:5] for word in place.words if len(word.folded) > 5}
    return 2 * hard + len(shared) - 0.02 * len(place.words)


def _is_across(claim: Claim, shown: Shown) -> bool:
    return bool(claim.language and shown.language and claim.language != shown.language)


@dataclass(frozen=True, slots=True)
class _Held:
    stems: frozenset[str]
    names: frozenset[str]
    keys: frozenset[str]


_NOTHING = _Held(frozenset(), frozenset(), frozenset())


def _held(places: Sequence[Place]) -> _Held:
    return _Held(
        frozenset[str]().union(*(place.stems for place in places)),
        frozenset[str]().union(*(place.names for place in places)),
        frozenset[str]().union(*(place.keys for place in places)),
    )


def _numbers_are_theirs(claim: Claim, places: Sequence[Place]) -> bool:
    """Whether each number stands where one of the claim's names is spoken of: a number of one sentence and a name of
    another say nothing together, unless the two follow each other or the title has the name."""
    return not claim.names or all(
        any(
            not keys.isdisjoint(place.keys) and any(name in place.spoken_of for name in claim.names)
            for place in places
        )
        for keys in claim.numerals
    )


def _bears_nouns(claim: Claim, places: Sequence[Place]) -> bool:
    return all(
        any(stem in place.shown.stems or has_name(name, place.shown.names) for place in places)
        for name, stem in claim.nouns
    )


def _new_held(claim: Claim, places: Sequence[Place]) -> int:
    """How much of what the question did not say stands in the places, or in their passages."""
    stems = frozenset[str]().union(*(place.shown.stems for place in places))
    return (
        len(claim.names)
        + len(claim.numerals)
        + sum(weight == 1.0 and key in stems for key, weight in claim.stems.items())
    )


def _weigh(claim: Claim, soft: dict[str, float], held: _Held, place: Place) -> float:
    weight = 0.0
    for keys in claim.numerals:
        if not keys.isdisjoint(place.keys) or not keys.isdisjoint(held.keys):
            weight += _NUMERAL_WEIGHT
    around = place.shown
    for name in claim.names:
        if name in place.names or name in held.names:
            weight += _NAME_WEIGHT
        elif name in around.names:
            weight += _NAME_WEIGHT * _AROUND_WEIGHT
    for key, value in soft.items():
        if key in place.stems or key in held.stems:
            weight += value
        elif key in around.stems:
            weight += value * _AROUND_WEIGHT
    return weight


def _bears_hard(claim: Claim, shown: Sequence[Shown], places: Sequence[Place] = ()) -> bool:
    """Whether every number stands in the places (or, with none, in the passages) and every name in the passages."""
    keys = frozenset[str]().union(
        *(place.keys for place in places), *(() if places else (s.keys for s in shown))
    )
    names = frozenset[str]().union(*(place.names for place in places), *(one.names for one in shown))
    return all(not wanted.isdisjoint(keys) for wanted in claim.numerals) and all(
        has_name(name, names, across=any(_is_across(claim, one) for one in shown)) for name in claim.names
    )


_PEOPLE = re.compile("(?:i?ans?|ish|ese|ienn?e?|aise?|oise?|aine?|er|isch|ische[rn]?|ano|ana|eno|ense)$")
_LANDS = ("", "a", "e", "y", "o", "ia", "ie", "ien", "en", "an")


def has_name(name: str, names: frozenset[str], *, across: bool = False) -> bool:
    """Whether a name is among those; across languages one that is written nearly the same will do."""
    if name in names:
        return True
    return (
        across
        and len(name) > 4
        and any(fuzz.ratio(name, other) >= 80 for other in names if other[0] == name[0])
    )


def _contradicts(claim: Claim, place: Place) -> bool:
    """Whether the place denies what the claim says, or the other way round, or says the opposite."""
    spoken = set(claim.stems)
    if claim.is_negative:
        if not place.denied:
            return True
    elif len(spoken & place.denied) >= 2 or (spoken and spoken <= place.denied):
        return True
    there = {form for word in place.words for form in (word.folded, word.stem)}
    for at, word in enumerate(claim.words):
        opposites = OPPOSITE.get(word.folded) or OPPOSITE.get(word.stem)
        if not opposites or opposites.isdisjoint(there) or word.folded in there or word.stem in there:
            continue
        beside = _beside(claim.words, at)
        for other, said in enumerate(place.words):
            if (said.folded in opposites or said.stem in opposites) and beside & _beside(place.words, other):
                return True
    return False


def _beside(words: list[Word], at: int) -> set[str]:
    """The content around a word: what it is said of."""
    return {word.stem for word in (*words[max(0, at - 4) : at], *words[at + 1 : at + 5]) if not word.is_stop}


def _denies_across(claim: Claim, place: Place) -> bool:
    return claim.is_negative != bool(place.denied) and (claim.is_negative or len(place.words) < 25)
