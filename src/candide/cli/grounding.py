"""What an answer rests on, for people in a terminal and for programs.

Numbers are the conversation's: an answer may cite a source that was found for an earlier question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from candide.domain.citations import Sentence
from candide.domain.grounding import Grounding
from candide.domain.sources import NumberedSource
from candide.errors import CandideError

if TYPE_CHECKING:
    from candide.cli.client import Client

SHOWN_WORDS = 80
"""Characters of a sentence that is pointed at."""
SHOWN_UNREAD = 5
MISSING = {
    "web": "the web could not be searched; the setting web_search names a search engine",
    "vectors": "passages were found by their words alone",
    "words": "passages were found by their meaning alone",
}
"""What is said of a part of the search that did not work."""


def all_sentences(grounding: Grounding) -> list[Sentence]:
    """Those of the answer with those of an extract, as they stand in its text."""
    return sorted([*grounding.sentences, *grounding.extract], key=lambda sentence: sentence.start)


def cited_numbers(grounding: Grounding) -> list[int]:
    """The numbers of the sources that the answer cites, each once, in their order."""
    return sorted({citation.number for one in all_sentences(grounding) for citation in one.citations})


async def find_cited(client: Client, conversation_id: str, grounding: Grounding) -> list[NumberedSource]:
    """The sources of a grounding, and those that it cites from earlier answers of the conversation, by number."""
    found = {source.number: source for source in grounding.sources}
    if any(number not in found for number in cited_numbers(grounding)):
        # Without the conversation the numbers still stand in the answer.
        with contextlib.suppress(CandideError):
            conversation = await client.conversation(conversation_id)
            for message in conversation.messages:
                for source in message.grounding.sources if message.grounding else ():
                    found.setdefault(source.number, source)
    wanted = {source.number for source in grounding.sources} | set(cited_numbers(grounding))
    return [found[number] for number in sorted(wanted & found.keys())]


def describe_grounding(grounding: Grounding | None, sources: Iterable[NumberedSource]) -> dict[str, Any]:
    """The members that say what an answer rests on; offsets are characters of the answer and of the sources' texts."""
    if grounding is None:
        return {"abstained": False, "sources": [], "sentences": []}
    described: dict[str, Any] = {
        "abstained": grounding.abstained,
        "sources": [
            {
                "number": source.number,
                "id": source.id,
                "external_id": source.external_id,
                "uri": source.uri,
                "title": source.title,
            }
            for source in sources
        ],
        "sentences": [
            {
                "text": sentence.text,
                "start": sentence.start,
                "end": sentence.end,
                "support": sentence.support,
                "citations": [
                    {"number": one.number, "start": one.start, "end": one.end, "quote": one.quote}
                    for one in sentence.citations
                ],
            }
            for sentence in all_sentences(grounding)
        ],
    }
    if grounding.extract:
        described["extract"] = True
    if grounding.unread:
        described["unread"] = grounding.unread
    if grounding.missing:
        described["missing"] = grounding.missing
    return described


def say_unread(unread: list[str]) -> list[str]:
    """What is said before an answer of what could not be read, a line each."""
    lines = [f"not read: {one}" for one in unread[:SHOWN_UNREAD]]
    if len(unread) > SHOWN_UNREAD:
        lines.append(f"and {len(unread) - SHOWN_UNREAD} more could not be read")
    return lines


def say_grounding(grounding: Grounding, sources: Iterable[NumberedSource]) -> list[str]:
    """What is said under an answer: the sources that it cites, and what none of them bears out."""
    cited = set(cited_numbers(grounding))
    # Where nothing was good enough to ask the model, the text of the answer lists the nearest itself.
    if grounding.abstained and grounding.is_good and not cited:
        lines = ["the nearest sources:", *map(say_source, sources)]
    else:
        lines = [say_source(source) for source in sources if source.number in cited]
    if grounding.extract:
        lines.append("an extract of the sources, word for word: the model gave no answer that they bear out")
    lines += [
        f"no source bears out: “{shorten(sentence.text)}”"
        for sentence in grounding.sentences
        if sentence.support == "unsupported"
    ]
    if grounding.sources and not grounding.checked:
        lines.append("the answer was not checked against its sources")
    lines += [MISSING.get(part, f"the search went on without '{part}'") for part in grounding.missing]
    return lines


def say_source(source: NumberedSource) -> str:
    """A source on one line: number, title, site, date, address."""
    parts = [source.title, source.site, _day(source.published), source.uri]
    return f"[{source.number}] " + " · ".join(dict.fromkeys(filter(None, parts)))


def shorten(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHOWN_WORDS else f"{words[: SHOWN_WORDS - 1].rstrip()}…"


def _day(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).date().isoformat()
