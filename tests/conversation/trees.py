"""Conversations of any shape, for tests that hold of all of them."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from candide.conversation.document import ExportedFolder
from candide.domain.citations import Citation, Sentence
from candide.domain.grounding import Grounding
from candide.domain.messages import Conversation, File, Message
from candide.domain.sources import NumberedSource, Passage

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
times = st.floats(0, 4e9)
names = st.none() | texts
ids = st.text("abcXYZ019_-", min_size=1, max_size=20)
values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
objects = st.dictionaries(texts, values, max_size=2)
folders = st.none() | st.builds(ExportedFolder, name=texts, instructions=names)
# An id stands for one file.
files = st.integers(0, 5).map(
    lambda n: File(
        id=f"file_{n:026d}", name=f"[{n}] é.png", media_type=("image/png", "text/plain")[n % 2], size=n
    )
)

spans = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted)
passages = st.builds(
    lambda span, text: Passage(id=1, source_id="source_1", start=span[0], end=span[1], text=text),
    spans,
    texts,
)
sources = st.builds(
    NumberedSource,
    number=st.integers(1, 9),
    id=ids,
    uri=texts | st.sampled_from(("https://example.org/a", "javascript:alert(1)", "/home/me/a.pdf")),
    title=texts,
    site=texts,
    published=st.none() | times,
    passages=st.lists(passages, max_size=2),
)
citations = st.builds(
    lambda span, number, quote: Citation(number=number, start=span[0], end=span[1], quote=quote),
    spans,
    st.integers(1, 9),
    texts,
)
sentences = st.builds(
    lambda span, text, support, cited: Sentence(
        text=text, start=span[0], end=span[1], support=support, citations=cited
    ),
    spans,
    texts,
    st.sampled_from((None, "quoted", "supported", "unsupported")),
    st.lists(citations, max_size=2),
)
groundings = st.builds(
    Grounding,
    query=texts,
    sources=st.lists(sources, max_size=2),
    is_good=st.booleans(),
    unread=st.lists(texts, max_size=2),
    sentences=st.lists(sentences, max_size=2),
    abstained=st.booleans(),
)


@st.composite
def trees(draw: st.DrawFn) -> tuple[Conversation, list[Message]]:
    """A conversation with parents before children."""
    conversation_id = draw(ids)
    message_ids = draw(st.lists(ids | st.just("client-created-root"), max_size=8, unique=True))
    messages: list[Message] = []
    for message_id in message_ids:
        parts: list[dict[str, Any]] = draw(st.lists(objects | files.map(File.as_part), max_size=2))
        messages.append(
            Message(
                id=message_id,
                conversation_id=conversation_id,
                parent_id=draw(st.none() | st.sampled_from([m.id for m in messages])) if messages else None,
                role=draw(st.sampled_from(("system", "user", "assistant", "tool"))),
                text=draw(texts),
                state=draw(st.sampled_from(("complete", "stopped", "failed"))),
                parts=parts,
                reasoning=draw(texts),
                model=draw(names),
                usage=draw(st.none() | objects),
                created_at=draw(times),
                engine=draw(names),
                timings=draw(st.none() | objects),
                finish_reason=draw(names),
                error=draw(st.none() | objects),
                feedback=draw(st.none() | objects),
                grounding=draw(st.none() | groundings.map(msgspec.to_builtins)),
            )
        )
    conversation = Conversation(
        id=conversation_id,
        title=draw(texts),
        current_leaf_id=draw(st.none() | st.sampled_from(message_ids)) if messages else None,
        model=draw(names),
        system_prompt=draw(names),
        created_at=draw(times),
        updated_at=draw(times),
        pinned=draw(st.booleans()),
        archived=draw(st.booleans()),
        instructions=draw(names),
        params=draw(objects),
    )
    return conversation, messages
