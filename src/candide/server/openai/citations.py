"""Citations as OpenAI's API shows them: annotations of the answer's text.

Only what the check bore out becomes an annotation. Its place is that of the mark in the text, or of the whole sentence
where the model left none; offsets are characters of the answer, and the end is exclusive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from candide.citations.marks import find_marks
from candide.domain.citations import Sentence
from candide.domain.sources import NumberedSource

Annotation = dict[str, Any]


def annotate(
    text: str, sentences: Sequence[Sentence], sources: Mapping[int, NumberedSource], *, files: bool
) -> list[Annotation]:
    """The annotations of an answer, in the order of its sentences.

    A source on the web is a `url_citation`, any other a `file_citation`. Where `files` were searched, one on the web is
    both: a client of that tool looks for files, and a reader wants the address.
    """
    marks = find_marks(text, sources.keys())
    annotations: list[Annotation] = []
    for sentence in sentences:
        if sentence.support not in ("quoted", "supported"):
            continue
        for number in dict.fromkeys(citation.number for citation in sentence.citations):
            source = sources.get(number)
            if source is None:
                continue
            own = [m for m in marks if m.number == number and sentence.start <= m.start < sentence.end]
            start, end = (own[0].start, own[0].end) if own else (sentence.start, sentence.end)
            if files or not is_on_web(source):
                annotations.append(
                    {
                        "type": "file_citation",
                        "index": start if own else end,
                        "file_id": source.id,
                        "filename": file_name(source),
                    }
                )
            if is_on_web(source):
                annotations.append(
                    {
                        "type": "url_citation",
                        "start_index": start,
                        "end_index": end,
                        "url": source.uri,
                        "title": source.title or source.uri,
                    }
                )
    return annotations


def is_on_web(source: NumberedSource) -> bool:
    return source.uri.startswith(("http://", "https://"))


def file_name(source: Any) -> str:
    """What a client shows a source by; of a file, its name."""
    if source.uri.startswith(("http://", "https://")) or source.external_id is not None:
        return source.title or source.external_id or source.uri
    return PurePath(source.uri).name or source.title


def describe_attributes(source: Any) -> dict[str, str | float]:
    """What is known of a source, as the attributes of a file."""
    given = {
        "uri": source.uri,
        "title": source.title,
        "site": source.site,
        "language": source.language,
        "published": source.published,
        "external_id": source.external_id,
    }
    return {name: value[:512] if isinstance(value, str) else value for name, value in given.items() if value}
