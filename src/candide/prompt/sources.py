"""Puts sources into prompts: their numbers, and how a question is asked over them.

A source gets its number once per conversation, whichever branch it was first used on, and every later stage carries
that number. What was shown to the model stands in the prompt where it was first shown, and is not repeated: the next
question on the same sources begins with what the engine has read already.

The wording is that which the grounding adapter was trained with (shared/assets); it serves other models as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from candide.domain.grounding import Grounding
from candide.domain.language import tell_language
from candide.domain.messages import Message
from candide.domain.sources import NumberedSource, Passage, Result

SYSTEM_PROMPT = (
    "You answer from the numbered sources only; you use nothing else. Answer in the language of the question, in one or "
    "two sentences, and cite the source of each statement by its number in brackets, like [2]. If the sources do not "
    "answer the question, say so in one sentence and cite nothing."
)
GROUNDED_PARAMS = {"temperature": 0.0}
"""Unless the user wants others: what stands in the sources is not to be varied."""
GAP = " […] "
"""Between two passages of one source that do not follow each other."""
_ANSWER_IN = {
    "en": "Answer in English.",
    "fr": "Réponds en français.",
    "es": "Responde en español.",
    "de": "Antworte auf Deutsch.",
}
_SPACE = re.compile(r"\s+")
_MARK = re.compile(r"[\[【]([\d\s,†–-]*\d[^\[\]【】]{0,12})[\]】]")


_SMALL_TALK = frozenset(
    [
        "hello",
        "hi",
        "hey",
        "thanks",
        "thank",
        "you",
        "very",
        "much",
        "bye",
        "goodbye",
        "ok",
        "okay",
        "great",
        "perfect",
        "good",
        "morning",
        "evening",
        "night",
        "well",
        "done",
        "bonjour",
        "bonsoir",
        "salut",
        "coucou",
        "merci",
        "beaucoup",
        "bien",
        "au",
        "revoir",
        "parfait",
        "super",
        "d",
        "accord",
        "bonne",
        "nuit",
        "journée",
        "soirée",
        "hola",
        "gracias",
        "muchas",
        "adiós",
        "buenos",
        "buenas",
        "días",
        "tardes",
        "noches",
        "vale",
        "perfecto",
        "hallo",
        "danke",
        "schön",
        "vielen",
        "dank",
        "tschüss",
        "guten",
        "tag",
        "morgen",
        "abend",
        "gut",
    ]
)


def is_small_talk(text: str) -> bool:
    """Whether a message only greets or thanks: no source need be asked about that."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    return 0 < len(words) <= 5 and "?" not in text and all(word in _SMALL_TALK for word in words)


def number_sources(known: Iterable[NumberedSource], results: Sequence[Result]) -> list[NumberedSource]:
    """The sources of the results, each with all its passages, under the number that it has or gets here.

    `known` are those of the conversation so far. Sources come in the order of their best passage.
    """
    numbers = {source.id: source.number for source in known}
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.source.id, []).append(result)
    numbered: list[NumberedSource] = []
    for source_id, its in found.items():
        source = its[0].source
        number = numbers.setdefault(source_id, max(numbers.values(), default=0) + 1)
        numbered.append(
            NumberedSource(
                number=number,
                id=source_id,
                uri=source.uri,
                title=source.title,
                site=source.site,
                language=source.language,
                published=source.published,
                external_id=source.external_id,
                passages=sorted((result.passage for result in its), key=lambda passage: passage.start),
            )
        )
    return numbered


def collect_sources(groundings: Iterable[Grounding]) -> list[NumberedSource]:
    """What the model was shown in these turns: each source once, with all its passages in the order of the text."""
    sources: dict[str, NumberedSource] = {}
    for grounding in groundings:
        for source in grounding.sources if grounding.is_good else ():
            known = sources.get(source.id)
            passages = {(p.start, p.end): p for p in (*(known.passages if known else ()), *source.passages)}
            ordered = [passages[place] for place in sorted(passages)]
            sources[source.id] = msgspec.structs.replace(known or source, passages=ordered)
    return sorted(sources.values(), key=lambda source: source.number)


def present_sources(branch: Sequence[Message], groundings: Mapping[str, Grounding]) -> list[Message]:
    """The branch with the sources before the questions that they were found for.

    `groundings` are those of the questions that were answered from sources, by the question's id. What stands before
    an earlier question is not repeated.
    """
    presented: list[Message] = []
    shown: set[tuple[str, int, int]] = set()
    for message in branch:
        grounding = groundings.get(message.id)
        if grounding is None:
            presented.append(message)
            continue
        fresh: list[NumberedSource] = []
        for source in grounding.sources if grounding.is_good else ():
            passages = [p for p in source.passages if (source.id, p.start, p.end) not in shown]
            shown.update((source.id, p.start, p.end) for p in passages)
            if passages:
                fresh.append(msgspec.structs.replace(source, passages=passages))
        best = grounding.sources[0].language if grounding.sources else ""
        asked = ask_over(fresh, message.text) + ask_in_language(message.text, best)
        presented.append(msgspec.structs.replace(message, text=asked))
    return presented


def ask_over(sources: Sequence[NumberedSource], question: str) -> str:
    """The user's message: the sources, which may be none that are new, and the question."""
    if not sources:
        return f"Question: {question}"
    lines = [f"[{source.number}] {_title(source)}: {_join(source.passages)}" for source in sources]
    return "Sources:\n" + "\n".join(lines) + f"\n\nQuestion: {question}"


def ask_in_language(question: str, best: str) -> str:
    """A reminder of the question's language where the best source has another: small models answer in the source's."""
    language = tell_language(question)
    return f" ({_ANSWER_IN[language]})" if language in _ANSWER_IN and best not in ("", language) else ""


def _title(source: NumberedSource) -> str:
    return _flatten(source.title) or _flatten(source.uri)


def _join(passages: Sequence[Passage]) -> str:
    text = ""
    end = 0
    for passage in passages:
        if text:
            text += " " if passage.start <= end + 2 else GAP
        text += _flatten(passage.text)
        end = passage.end
    return text


def _flatten(text: str) -> str:
    """One line in which no number in brackets can be taken for a source's, and nothing for the end of the sources."""
    return _MARK.sub(r"(\1)", _SPACE.sub(" ", text)).strip()
