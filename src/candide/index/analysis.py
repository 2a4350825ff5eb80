"""How a text becomes words: the same way when it is indexed and when it is looked for.

Words are compared without case and accents. A language with a stemmer has a field of its own, in which the forms of a
word are one; in the field of plain words every text stands as it is spelled, which is what phrases, exclusions and texts
of other languages are found by. Scripts that put no spaces between words are cut into pairs of characters, and for
phrases into characters.
An apostrophe ends a word, so that `l'économie` is found by `économie`.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Collection
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tantivy

PLAIN = "plain"
PAIRS = "pairs"
CHARACTERS = "characters"
LONGEST_WORD = 60
"""Bytes; what is longer is no word."""

STEMMERS = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nb": "norwegian",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
"""tantivy's, by ISO 639-1."""

# Chinese, Japanese, Thai, Lao, Burmese and Khmer put no spaces between words; Korean does, around more than one.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)

# What asks and does not say what for, by stemmer: rare enough in texts that a text that holds one by chance would come
# first. The other words that say little are in tantivy's lists.
_QUESTION_WORDS = {
    "dutch": "wie wat waar wanneer waarom hoe hoeveel welk welke",
    "english": "what which who whom whose when where why how many much do does did is are was were",
    "french": "qui que quoi dont où quand comment combien pourquoi quel quelle quels quelles lequel laquelle lesquels"
    " lesquelles t il elle a ont est sont était étaient fut furent",
    "german": "wer wen wem wessen was wo woher wohin wann warum wieso wie viel viele welche welcher welches welchem welchen",
    "italian": "chi che cosa dove quando come perché quanto quanta quanti quante quale quali",
    "portuguese": "quem que quê onde quando como porquê quanto quanta quantos quantas qual quais",
    "spanish": "quién quiénes qué dónde cuándo cómo por cuánto cuánta cuántos cuántas cuál cuáles",
}


def find_stem_field(language: str) -> str | None:
    """The field of a language's stems; None for one without a stemmer."""
    return f"stem_{STEMMERS[language]}" if language in STEMMERS else None


def list_stem_fields() -> dict[str, str]:
    """The fields of stems, each with tantivy's name of its language."""
    return {f"stem_{name}": name for name in sorted(set(STEMMERS.values()))}


def clean_text(text: str) -> str:
    """The text with each letter and its accents as one character: what is cut into words."""
    return unicodedata.normalize("NFC", text)


def find_unspaced(text: str) -> list[str]:
    """The parts of a text that are written without spaces."""
    return _UNSPACED.findall(text)


@cache
def get_analyzer(field: str) -> tantivy.TextAnalyzer:
    """What cuts texts for this field: `plain`, `pairs`, `characters` or one of `list_stem_fields`."""
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    if field == PAIRS:
        return TextAnalyzerBuilder(Tokenizer.ngram(2, 2)).filter(Filter.lowercase()).build()
    if field == CHARACTERS:
        return TextAnalyzerBuilder(Tokenizer.regex(r"\S")).filter(Filter.lowercase()).build()
    builder = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(LONGEST_WORD))
    builder = builder.filter(Filter.lowercase())
    if field != PLAIN:
        # Before the accents go: stemmers know their languages' endings with them.
        builder = builder.filter(Filter.stemmer(list_stem_fields()[field]))
    return builder.filter(Filter.ascii_fold()).build()


@lru_cache(maxsize=1 << 16)
def find_stem(word: str, language: str) -> str:
    """The stem of a word as the index knows it; the word itself where that leaves nothing of it."""
    analyzer = get_analyzer(find_stem_field(language) or PLAIN)
    return next(iter(analyzer.analyze(clean_text(word))), word)


def drop_stop_words(text: str, languages: Collection[str]) -> str:
    """A query without the words that say little in these languages (ISO 639-1); all of them where no other is left."""
    names = {STEMMERS[language] for language in languages if language in STEMMERS}
    words = _get_splitter(None).analyze(text)
    kept = words
    for name in sorted(names):
        asking = _QUESTION_WORDS.get(name, "").split()
        kept = [word for word in _get_splitter(name).analyze(" ".join(kept)) if word not in asking]
    return " ".join(kept or words)


@cache
def _get_splitter(language: str | None) -> tantivy.TextAnalyzer:
    """What cuts a text into words as they are spelled, without the stop words of a language of tantivy's."""
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    builder = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.lowercase())
    if language is not None:
        # It has no list for some of the languages that it has stemmers for.
        with contextlib.suppress(ValueError):
            return builder.filter(Filter.stopword(language)).build()
    # A builder that has refused a filter is used up.
    return TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.lowercase()).build()
