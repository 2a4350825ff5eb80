"""Where the words of a query stand in a passage, and whether what was demanded does.

Words are compared as the index compares them: folded and stemmed. Phrases are compared as they are written, but for
case, accents and what stands between the words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from candide.retrieval.words import Word, content_words, find_words

Stem = Callable[[str, str], str]
"""The folded stem of a word in a language, ISO 639-1; the folded word where the language has no stemmer."""


def find_highlights(
    text: str, query: str, phrases: Collection[str], stem: Stem, language: str
) -> list[tuple[int, int]]:
    """The spans of the text, in order and apart, where a telling word of the query or a phrase stands."""
    wanted = {stem(word.text, language) for word in content_words(query)}
    standing = find_words(text)
    spans = [(word.start, word.end) for word in standing if stem(word.text, language) in wanted]
    for phrase in phrases:
        spans.extend(find_phrase(standing, phrase))
    return _join(sorted(spans))


def find_phrase(standing: Sequence[Word], phrase: str) -> list[tuple[int, int]]:
    """Where the words of the phrase stand one after the other."""
    wanted = [word.folded for word in find_words(phrase)]
    if not wanted:
        return []
    return [
        (standing[at].start, standing[at + len(wanted) - 1].end)
        for at in range(len(standing) - len(wanted) + 1)
        if all(standing[at + n].folded == word for n, word in enumerate(wanted))
    ]


def _join(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
