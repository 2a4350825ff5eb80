"""The index of the words of all messages: full-text search in any language.

Texts are folded before they are indexed and so are queries: case and accents go, and scripts that
are written without spaces are cut into single characters, which a query then finds as a phrase.
SQLite's FTS5 or PostgreSQL's tsvector keeps the folded text; snippets come from the original.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from candide.domain.folding import UNSPACED, WORD, fold
from candide.store.database import Connection
from candide.store.schema import conversations, messages

SNIPPET_CHARS = 160
MAX_MARKS = 200
MAX_VECTOR_CHARS = 1_000_000


class Found(msgspec.Struct, kw_only=True):
    """A message that matches, or a title; `highlights` are spans `[start, end)` of `snippet` in characters."""

    conversation_id: str
    conversation_title: str
    message_id: str | None
    """None when it is the conversation's title that matches."""
    role: str
    """The message's, or `title`."""
    snippet: str
    highlights: list[tuple[int, int]]
    created_at: float


def _fold_chars(text: str) -> tuple[str, list[int]]:
    """Fold character by character; the folded text, and for each of its characters the original's index."""
    out: list[str] = []
    origin: list[int] = []
    for index, char in enumerate(text):
        for folded in unicodedata.normalize("NFKD", char.casefold()):
            if not unicodedata.combining(folded):
                out.append(folded)
                origin.append(index)
    return "".join(out), origin


def _terms(query: str) -> list[list[str]]:
    """The query's terms, each a phrase of folded words; text in double quotes is one phrase."""
    terms: list[list[str]] = []
    for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', query):
        if words := WORD.findall(fold(quoted or plain)):
            terms.append(words)
    return terms


_ADD_WORDS = sa.text("INSERT INTO message_words (message_id, folded) VALUES (:id, :folded)")
_ADD_VECTORS = sa.text(
    "INSERT INTO message_words (message_id, folded) VALUES (:id, CAST(CAST(:folded AS text) AS tsvector))"
)
_FIND = """
    SELECT message_id FROM message_words
    JOIN messages ON messages.id = message_id JOIN conversations ON conversations.id = conversation_id
    WHERE {matches} AND deleted_at IS NULL AND deleted_with IS NULL AND NOT hidden ORDER BY {rank}, message_id DESC LIMIT :limit
"""
_TSQUERY = "CAST(CAST(:query AS text) AS tsquery)"
_FIND_WORDS = sa.text(_FIND.format(matches="message_words MATCH :query", rank="rank"))
_FIND_VECTORS = sa.text(
    _FIND.format(matches=f"folded @@ {_TSQUERY}", rank=f"ts_rank(folded, {_TSQUERY}) DESC")
)


async def index_messages(connection: Connection, texts: Sequence[tuple[str, str]]) -> None:
    """Index messages by id and text, each once: one whose text has grown is forgotten before."""
    await add_words(connection, fold_messages(texts, sqlite=connection.dialect.name == "sqlite"))


def fold_messages(texts: Sequence[tuple[str, str]], *, sqlite: bool) -> list[dict[str, str]]:
    """What the index takes of messages: who has much to add does this before a transaction.

    A text without a word is left out: no query finds it, and `forget_message` would not either.
    """
    folded = ((i, fold(text if sqlite else text[:MAX_VECTOR_CHARS])) for i, text in texts)
    return [{"id": i, "folded": f if sqlite else _tsvector(f)} for i, f in folded if WORD.search(f)]


async def add_words(connection: Connection, folded: Sequence[dict[str, str]]) -> None:
    if folded:
        statement = _ADD_WORDS if connection.dialect.name == "sqlite" else _ADD_VECTORS
        await connection.execute(statement, folded)


async def forget_message(connection: Connection, message_id: str, text: str) -> None:
    """Take a message out of the index; `text` is that with which it was indexed."""
    if connection.dialect.name != "sqlite":
        await connection.execute(_FORGET_ID, {"id": message_id})
    elif words := WORD.findall(fold(text))[:8]:
        # By its first words: the index knows no ids, and would be read from end to end.
        found = {"id": message_id, "query": '"' + " ".join(words) + '"'}
        done = await connection.execute(_FORGET_WORDS, found)
        if done.rowcount == 0:
            # SQLite knows characters as letters that Python does not, and cut the text into other words.
            await connection.execute(_FORGET_ID, {"id": message_id})


_FORGET_ID = sa.text("DELETE FROM message_words WHERE message_id = :id")
_FORGET_WORDS = sa.text(
    "DELETE FROM message_words WHERE rowid IN "
    "(SELECT rowid FROM message_words WHERE message_words MATCH :query AND message_id = :id)"
)


def _tsvector(folded: str) -> str:
    """The words of a folded text with their places, as PostgreSQL writes them; its own parser takes `foo-bar.com` for one word.

    What exceeds PostgreSQL's limits (16,383 places, a megabyte) is not indexed.
    """
    entries: list[str] = []
    size = 0
    for place, word in enumerate(WORD.findall(folded), 1):
        length = len(word.encode())
        size += length + 8
        if place > 16_383 or size > 900_000:
            break
        if length < 2_000:
            entries.append(f"'{word}':{place}")
    return " ".join(entries)


async def search_messages(connection: Connection, query: str, limit: int) -> list[Found]:
    """The messages that hold every term of the query, best first; the last word may be unfinished."""
    terms = _terms(query)
    if not terms:
        return []
    if connection.dialect.name == "sqlite":
        phrases = ['"' + " ".join(words) + '"' for words in terms]
        statement, matched = _FIND_WORDS, " AND ".join(phrases) + "*"
    else:
        phrases = [" <-> ".join(f"'{word}'" for word in words) for words in terms]
        statement, matched = _FIND_VECTORS, " & ".join(phrases) + ":*"
    rows = await connection.execute(statement, {"query": matched, "limit": limit})
    ids = [row[0] for row in rows]
    found = await connection.execute(
        sa.select(messages, conversations.c.title)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .where(messages.c.id.in_(ids))
    )
    by_id = {row.id: row for row in found}
    return [_present(by_id[i], terms) for i in ids]


async def search_titles(connection: Connection, query: str, limit: int) -> list[Found]:
    """The conversations whose titles hold every term of the query, last used first."""
    terms = _terms(query)
    if not terms:
        return []
    # The last word may be unfinished. Folded words hold no character that LIKE knows.
    patterns = [f"% {' '.join(words)} %" for words in terms[:-1]] + [f"% {' '.join(terms[-1])}%"]
    rows = await connection.execute(
        sa.select(conversations.c.id, conversations.c.title, conversations.c.updated_at)
        .where(*(conversations.c.title_words.like(pattern) for pattern in patterns))
        .where(conversations.c.deleted_at.is_(None), conversations.c.hidden.is_(False))
        .order_by(conversations.c.updated_at.desc())
        .limit(limit)
    )
    found: list[Found] = []
    for row in rows:
        snippet, highlights = cut_snippet(row.title, terms)
        found.append(
            Found(
                conversation_id=row.id,
                conversation_title=row.title,
                message_id=None,
                role="title",
                snippet=snippet,
                highlights=highlights,
                created_at=row.updated_at,
            )
        )
    return found


def _present(row: sa.Row[tuple[object, ...]], terms: list[list[str]]) -> Found:
    snippet, highlights = cut_snippet(row.text, terms)
    return Found(
        conversation_id=row.conversation_id,
        conversation_title=row.title,
        message_id=row.id,
        role=row.role,
        snippet=snippet,
        highlights=highlights,
        created_at=row.created_at,
    )


def cut_snippet(text: str, terms: list[list[str]]) -> tuple[str, list[tuple[int, int]]]:
    """The part of a text around its first match, and where the terms stand in it; the last one may be unfinished."""
    folded, origin = _fold_chars(text)
    spans: list[tuple[int, int]] = []
    for words in terms:
        pattern = _phrase_pattern(words, unfinished=words is terms[-1])
        matches = itertools.islice(re.finditer(pattern, folded), MAX_MARKS)
        spans.extend((origin[match.start()], origin[match.end() - 1] + 1) for match in matches)
    spans.sort()
    first = spans[0][0] if spans else 0
    start = max(0, first - SNIPPET_CHARS // 4)
    if start > 0 and (space := text.find(" ", start, first)) != -1:
        start = space + 1
    end = min(len(text), start + SNIPPET_CHARS)
    highlights: list[tuple[int, int]] = []
    for a, b in spans:
        if a >= start and b <= end and (not highlights or a - start >= highlights[-1][1]):
            highlights.append((a - start, b - start))
    return text[start:end], highlights


def _phrase_pattern(words: list[str], *, unfinished: bool) -> str:
    """What finds a phrase in a text folded by `_fold_chars`; a word begins and ends beside an unspaced character."""
    parts = [unicodedata.normalize("NFKD", word) for word in words]
    pattern = re.escape(parts[0])
    for before, after in itertools.pairwise(parts):
        touching = UNSPACED.match(before[-1]) or UNSPACED.match(after[0])
        pattern += (r"[\W_]*" if touching else r"[\W_]+") + re.escape(after)
    if not UNSPACED.match(parts[0][0]):
        pattern = rf"(?:(?<![^\W_])|(?<={UNSPACED.pattern})){pattern}"
    if not (unfinished or UNSPACED.match(parts[-1][-1])):
        pattern += rf"(?:(?![^\W_])|(?={UNSPACED.pattern}))"
    return pattern
