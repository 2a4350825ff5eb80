"""What was typed, read: words, phrases in quotation marks, what must not be there, and operators.

`site:`, `before:`, `after:`, `lang:`, `library:` and `type:` may stand anywhere, in English or French, with values in
quotation marks or without. Nothing that is typed is an error: what cannot be understood as an operator is a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from candide.domain.retrieval import Filters
from candide.retrieval.dates import read_date_before_words
from candide.retrieval.words import find_words, fold

LibraryFinder = Callable[[str], str | None]
"""Gives the id of the library of a name, None when there is none."""

_QUOTES = {'"': '"', "«": "»", "“": "”", "„": "“”", "”": "”", "»": "«"}
_OPERATORS = {
    "site": "site", "before": "before", "avant": "before", "after": "after", "apres": "after", "since": "after",
    "depuis": "after", "lang": "lang", "language": "lang", "langue": "lang", "library": "library",
    "bibliotheque": "library", "type": "type", "filetype": "type",
}  # fmt: skip
_OPERATOR = re.compile(r"(\w{4,12}):(?=\S)")
_SPACE = re.compile(r"\s*(?=\S)")
_WORD = re.compile(r"\S+")
_HOST = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://)?(?:[^/\s@]*@)?([^/\s:?#]+)(?::\d+)?(?:[/?#]\S*)?", re.IGNORECASE
)
_LANGUAGES = {
    name: code
    for code, names in {
        "fr": "francais francaise french", "en": "anglais anglaise english", "de": "allemand german deutsch",
        "es": "espagnol spanish espanol", "it": "italien italian italiano", "pt": "portugais portuguese portugues",
        "nl": "neerlandais dutch nederlands", "zh": "chinois chinese", "ja": "japonais japanese", "ar": "arabe arabic",
        "ru": "russe russian",
    }.items()
    for name in names.split()
}  # fmt: skip
_OFFICE = "application/vnd.openxmlformats-officedocument."
MEDIA_TYPES = {
    "pdf": ("application/pdf",),
    "html": ("text/html", "application/xhtml+xml"),
    "markdown": ("text/markdown",),
    "text": ("text/plain",),
    "docx": (f"{_OFFICE}wordprocessingml.document",),
    "pptx": (f"{_OFFICE}presentationml.presentation",),
    "xlsx": (f"{_OFFICE}spreadsheetml.sheet",),
    "odt": ("application/vnd.oasis.opendocument.text",),
    "epub": ("application/epub+zip",),
    "csv": ("text/csv",),
    "email": ("message/rfc822", "application/vnd.ms-outlook"),
}
"""Short names of types, as they stand behind `type:`."""
_OTHER_NAMES = {
    "htm": "html", "page": "html", "web": "html", "md": "markdown", "txt": "text", "texte": "text", "word": "docx",
    "doc": "docx", "powerpoint": "pptx", "ppt": "pptx", "excel": "xlsx", "xls": "xlsx", "eml": "email", "mail": "email",
    "msg": "email", "courriel": "email", "e-mail": "email",
}  # fmt: skip


class Query(msgspec.Struct, kw_only=True, frozen=True):
    """What was typed, as it was understood."""

    text: str
    """The words that are looked for, those of the phrases among them, without quotation marks and operators."""
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    filters: Filters = Filters()
    ignored: tuple[str, ...] = ()
    """Operators whose values mean nothing, as they were written; they are among the words."""


_RIGHT = {
    "site": "a host, like site:lemonde.fr",
    "before": "a date, like before:2024-05",
    "after": "a date, like after:2024-05",
    "lang": "a language, like lang:fr",
    "library": "the name of a library, like library:News",
    "type": f"a type: {', '.join(MEDIA_TYPES)}",
}


def explain_operator(written: str) -> str:
    """What belongs behind the operator of `Query.ignored`."""
    return _RIGHT[_OPERATORS[fold(written.partition(":")[0])]]


def parse_query(typed: str, *, now: float, find_library: LibraryFinder | None = None) -> Query:
    """Read what was typed; `now`, in seconds since 1970, is what `yesterday` is counted from."""
    return _Reader(typed, now, find_library).read()


class _Reader:
    def __init__(self, typed: str, now: float, find_library: LibraryFinder | None) -> None:
        self._typed = typed
        self._now = now
        self._find_library: LibraryFinder = find_library or _find_none
        self._at = 0
        self._words: list[str] = []
        self._phrases: list[str] = []
        self._without: list[str] = []
        self._ignored: list[str] = []
        self._libraries: list[str] = []
        self._sites: list[str] = []
        self._languages: list[str] = []
        self._media_types: list[str] = []
        self._after: float | None = None
        self._before: float | None = None

    def read(self) -> Query:
        while match := _SPACE.match(self._typed, self._at):
            self._at = match.end()
            if not (self._read_excluded() or self._read_operator() or self._read_phrase()):
                self._read_word()
        return Query(
            text=" ".join(self._words),
            phrases=tuple(dict.fromkeys(self._phrases)),
            without=tuple(dict.fromkeys(self._without)),
            filters=Filters(
                libraries=tuple(dict.fromkeys(self._libraries)),
                sites=tuple(dict.fromkeys(self._sites)),
                languages=tuple(dict.fromkeys(self._languages)),
                media_types=tuple(dict.fromkeys(self._media_types)),
                after=self._after,
                before=self._before,
            ),
            ignored=tuple(self._ignored),
        )

    def _read_excluded(self) -> bool:
        if self._typed[self._at] not in "-−–":
            return False
        if phrase := self._quoted(self._at + 1):
            text, self._at = phrase
            if find_words(text):
                self._without.append(text)
            return True
        match = _WORD.match(self._typed, self._at + 1)
        # A number behind a minus is a temperature, and two minuses are an option of some program.
        if match is None or not match[0][0].isalpha():
            return False
        self._without.append(match[0])
        self._at = match.end()
        return True

    def _read_operator(self) -> bool:
        match = _OPERATOR.match(self._typed, self._at)
        name = _OPERATORS.get(fold(match[1])) if match else None
        if match is None or name is None:
            return False
        quoted = self._quoted(match.end())
        if name in ("before", "after"):
            end = self._take_date(name, match.end(), quoted)
        else:
            word = _WORD.match(self._typed, match.end())
            value, end = quoted or (word[0] if word else "", word.end() if word else match.end())
            end = end if self._take(name, value) else None
        if end is None:
            written = _WORD.match(self._typed, self._at)
            self._ignored.append(written[0] if written else match[0])
            return False
        self._at = end
        return True

    def _take_date(self, name: str, start: int, quoted: tuple[str, int] | None) -> int | None:
        if quoted:
            words, ends = quoted[0].split(), [quoted[1]] * len(quoted[0].split())
        else:
            found = [match for _, match in zip(range(4), _WORD.finditer(self._typed, start), strict=False)]
            words, ends = [match[0] for match in found], [match.end() for match in found]
        # What follows a comma belongs to the sentence: `after:2024, in France`.
        moment, count = read_date_before_words(words, self._now)
        if moment is None and words:
            moment, count = read_date_before_words([words[0].rstrip(",.;?!)")], self._now)
        if moment is None or (quoted and count < len(words)):
            return None
        if name == "after":
            self._after = moment if self._after is None else max(self._after, moment)
        else:
            self._before = moment if self._before is None else min(self._before, moment)
        return ends[count - 1]

    def _take(self, name: str, value: str) -> bool:
        """Whether the values, separated by commas, mean something to the operator."""
        taken = False
        for part in [value] if name == "library" else value.split(","):
            if name == "library":
                found = self._find_library(part) or self._find_library(part.rstrip(",.;?!"))
                into, values = self._libraries, (found,) if found else ()
            elif name == "site":
                into, values = self._sites, read_host(part)
            elif name == "lang":
                into, values = self._languages, read_language(part)
            else:
                into, values = self._media_types, read_media_types(part)
            into.extend(values)
            taken = taken or bool(values)
        return taken

    def _read_phrase(self) -> bool:
        phrase = self._quoted(self._at)
        if phrase is None:
            return False
        text, self._at = phrase
        if find_words(text):
            self._phrases.append(text)
            self._words.append(text)
        return True

    def _read_word(self) -> None:
        match = _WORD.match(self._typed, self._at)
        assert match is not None, "a character that is no space stands here"
        word = match[0]
        # A quotation that begins within what has no space around it, like l'“Iliade”, ends the word.
        inner = min((at for mark in "«“„" if (at := word.find(mark)) > 0), default=-1)
        if inner > 0 and self._quoted(self._at + inner):
            word = word[:inner]
        self._at += len(word)
        self._words.append(word)

    def _quoted(self, at: int) -> tuple[str, int] | None:
        """What stands in the quotation marks that open at `at`, and where they end; None when none do."""
        closing = _QUOTES.get(self._typed[at : at + 1])
        if closing is None:
            return None
        ends = [end for mark in closing if (end := self._typed.find(mark, at + 1)) >= 0]
        if not ends:
            return None
        return " ".join(self._typed[at + 1 : min(ends)].split()), min(ends) + 1


def _find_none(name: str) -> str | None:
    return None


def read_host(text: str) -> tuple[str, ...]:
    """The host that a host or an address names, without `www.`; none when it names none."""
    match = _HOST.fullmatch(text.strip().rstrip(",;?!)"))
    host = match[1].strip(".").lower() if match else ""
    return (host.removeprefix("www."),) if host.removeprefix("www.") else ()


def read_language(text: str) -> tuple[str, ...]:
    """The ISO 639-1 code of a language, given by its code or by its name; none when it is no language."""
    folded = fold(text.strip().rstrip(",.;?!)"))
    code = _LANGUAGES.get(folded, folded.partition("-")[0].partition("_")[0])
    return (code,) if re.fullmatch(r"[a-z]{2}", code) else ()


def read_media_types(text: str) -> tuple[str, ...]:
    """The media types of a type's short name, of an ending or of itself; none when it is no type."""
    folded = fold(text.strip().rstrip(",;?!)").lstrip("."))
    if re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", folded):
        return (folded,)
    return MEDIA_TYPES.get(_OTHER_NAMES.get(folded, folded), ())
